#include "tests/cuda_on_host/fiber.h"

#include <sys/mman.h>

#include <new>

#if defined(__SANITIZE_ADDRESS__)
#define NLL_ADDRESS_SANITIZER
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define NLL_ADDRESS_SANITIZER
#endif
#endif
#ifdef NLL_ADDRESS_SANITIZER
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace nll::cuda_on_host {
namespace {

using boost::context::detail::jump_fcontext;
using boost::context::detail::make_fcontext;
using boost::context::detail::transfer_t;

// A thread of a kernel keeps little on its stack; instrumented code keeps more. Pages that are not touched cost
// nothing.
constexpr std::size_t guard_bytes = 4096;
constexpr std::size_t stack_bytes = 256 * 1024;

void start_switch([[maybe_unused]] void** fake_stack, [[maybe_unused]] const void* bottom,
                  [[maybe_unused]] std::size_t size) {
#ifdef NLL_ADDRESS_SANITIZER
  __sanitizer_start_switch_fiber(fake_stack, bottom, size);
#endif
}

void finish_switch([[maybe_unused]] void* fake_stack, [[maybe_unused]] const void** bottom,
                   [[maybe_unused]] std::size_t* size) {
#ifdef NLL_ADDRESS_SANITIZER
  __sanitizer_finish_switch_fiber(fake_stack, bottom, size);
#endif
}

}  // namespace

Fiber::Fiber(void (*body)(void*), void* argument) : body_(body), argument_(argument) {
  void* mapping = mmap(nullptr, guard_bytes + stack_bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapping == MAP_FAILED) throw std::bad_alloc();
  mapping_ = static_cast<std::byte*>(mapping);
  mprotect(mapping_, guard_bytes, PROT_NONE);
  inside_ = make_fcontext(mapping_ + guard_bytes + stack_bytes, stack_bytes, &Fiber::enter);
}

Fiber::~Fiber() {
#ifdef NLL_ADDRESS_SANITIZER
  ASAN_UNPOISON_MEMORY_REGION(mapping_ + guard_bytes, stack_bytes);
#endif
  munmap(mapping_, guard_bytes + stack_bytes);
}

void Fiber::enter(transfer_t from) {
  Fiber* const fiber = static_cast<Fiber*>(from.data);
  finish_switch(nullptr, &fiber->outside_bottom_, &fiber->outside_size_);
  fiber->outside_ = from.fctx;
  fiber->body_(fiber->argument_);
}

void Fiber::resume() {
  start_switch(&fake_stack_outside_, mapping_ + guard_bytes, stack_bytes);
  const transfer_t back = jump_fcontext(inside_, this);
  inside_ = back.fctx;
  finish_switch(fake_stack_outside_, nullptr, nullptr);
}

void Fiber::stop() {
  start_switch(&fake_stack_inside_, outside_bottom_, outside_size_);
  const transfer_t back = jump_fcontext(outside_, nullptr);
  outside_ = back.fctx;
  finish_switch(fake_stack_inside_, &outside_bottom_, &outside_size_);
}

}  // namespace nll::cuda_on_host
