// ThreadTeam: the threads of a CPU backend. They live as long as the backend; every op hands them one function each.
#pragma once
#include <sched.h>

#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>
#include <thread>
#include <type_traits>
#include <vector>

namespace nll::cpu {

// A half-open range of work.
struct Range {
  std::int64_t begin = 0, end = 0;
  std::int64_t size() const { return end - begin; }
};

// Part `part` of `parts` of [0, count), cut at multiples of `unit`; parts differ by at most one unit.
inline Range part_of(std::int64_t count, std::int64_t unit, int part, int parts) {
  const std::int64_t units = (count + unit - 1) / unit;
  const auto cut = [&](std::int64_t i) {
    const std::int64_t at = (units / parts * i + units % parts * i / parts) * unit;
    return at < count ? at : count;
  };
  return {cut(part), cut(part + 1)};
}

class ThreadTeam {
 public:
  explicit ThreadTeam(int threads);
  ~ThreadTeam();
  ThreadTeam(const ThreadTeam&) = delete;
  ThreadTeam& operator=(const ThreadTeam&) = delete;

  int size() const { return size_; }

  // Calls body(thread) once for each thread in [0, size()), the caller being thread 0, and returns when all are done.
  // What a body throws is rethrown here (of several, the lowest thread's). Not reentrant.
  template <class Body>
  void run(Body&& body) {
    dispatch([](void* context, int thread) { (*static_cast<std::remove_reference_t<Body>*>(context))(thread); },
             const_cast<void*>(static_cast<const void*>(&body)));
  }

  // body(range, thread) on the static parts of [0, count); threads without a part are not called.
  template <class Body>
  void for_each_part(std::int64_t count, std::int64_t unit, Body&& body) {
    run([&](int thread) {
      const Range part = part_of(count, unit, thread, size_);
      if (part.size() > 0) body(part, thread);
    });
  }

 private:
  using Call = void (*)(void* context, int thread);
  void dispatch(Call call, void* context);
  void work(int thread);
  void call_and_keep_exception(int thread);
  void settle(int thread);

  int size_;
  int spins_;  // how long a thread polls before it sleeps
  Call call_ = nullptr;
  void* context_ = nullptr;
  bool stop_ = false;
  bool running_ = false;
  std::vector<std::exception_ptr> exceptions_;
  cpu_set_t allowed_{};                                // cores of this process
  std::unique_ptr<std::atomic<int>[]> core_;           // of each thread, when it last began to work
  alignas(64) std::atomic<std::uint32_t> round_{0};    // grows by one with each piece of work
  alignas(64) std::atomic<std::uint32_t> pending_{0};  // threads still working on it
  std::vector<std::thread> threads_;
};

}  // namespace nll::cpu
