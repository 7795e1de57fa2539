// Fiber: a function with a stack of its own, which stops in the middle and goes on later.
#pragma once
#include <boost/context/detail/fcontext.hpp>
#include <cstddef>

namespace nll::cuda_on_host {

class Fiber {
 public:
  // body(argument) runs at the first resume. It must not return and must not throw.
  Fiber(void (*body)(void*), void* argument);
  ~Fiber();  // whatever was on its stack is not destroyed
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  void resume();  // called outside of any fiber; returns at its next stop
  void stop();    // called in this fiber; returns at the next resume

 private:
  static void enter(boost::context::detail::transfer_t from);

  void (*body_)(void*);
  void* argument_;
  std::byte* mapping_;  // a page that faults, then the stack, which grows down towards it
  boost::context::detail::fcontext_t inside_ = nullptr, outside_ = nullptr;
  // What AddressSanitizer wants to know about a switch of stacks.
  void* fake_stack_inside_ = nullptr;
  void* fake_stack_outside_ = nullptr;
  const void* outside_bottom_ = nullptr;
  std::size_t outside_size_ = 0;
};

}  // namespace nll::cuda_on_host
