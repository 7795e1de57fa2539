#include "kernels/cpu/team.h"

#include "kernels/check.h"

namespace nll::cpu {
namespace {

// Between two ops of a step there are microseconds: long enough to matter, too short to sleep.
constexpr int polling_rounds = 4000;

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#else
  std::this_thread::yield();
#endif
}

// Returns when `value` is no longer `old`.
std::uint32_t wait_for_change(const std::atomic<std::uint32_t>& value, std::uint32_t old, int spins) {
  for (int i = 0; i < spins; ++i) {
    const std::uint32_t now = value.load(std::memory_order_acquire);
    if (now != old) return now;
    pause();
  }
  while (true) {
    value.wait(old, std::memory_order_acquire);
    const std::uint32_t now = value.load(std::memory_order_acquire);
    if (now != old) return now;
  }
}

}  // namespace

ThreadTeam::ThreadTeam(int threads) : size_(threads) {
  CHECK(threads >= 1);
  // With more threads than cores a polling thread would take the core from one that has work.
  spins_ = threads <= static_cast<int>(std::thread::hardware_concurrency()) ? polling_rounds : 0;
  exceptions_.resize(static_cast<std::size_t>(threads));
  if (sched_getaffinity(0, sizeof(allowed_), &allowed_) != 0) CPU_ZERO(&allowed_);
  core_ = std::make_unique<std::atomic<int>[]>(static_cast<std::size_t>(threads));
  for (int thread = 0; thread < threads; ++thread) core_[static_cast<std::size_t>(thread)] = -1;
  threads_.reserve(static_cast<std::size_t>(threads - 1));
  for (int thread = 1; thread < threads; ++thread) threads_.emplace_back([this, thread] { work(thread); });
  run([](int) {});  // everybody is up, each on a core of its own
}

ThreadTeam::~ThreadTeam() {
  stop_ = true;
  round_.fetch_add(1, std::memory_order_release);
  round_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

// Keeps the threads on different cores. Some schedulers (small virtual machines) wake a thread on the core of the one
// that woke it and leave it there, next to an idle core: then a team of two is no faster than one. Who begins to work
// on the core of another moves: a thread of the team stays away from the lower ones' cores from then on; the caller,
// whose affinity is not ours to change, gets it back at once, having moved.
void ThreadTeam::settle(int thread) {
  const int core = sched_getcpu();
  core_[static_cast<std::size_t>(thread)].store(core, std::memory_order_relaxed);
  if (core < 0 || size_ > CPU_COUNT(&allowed_)) return;
  bool shared = false;
  cpu_set_t others = allowed_;
  const int end = thread == 0 ? size_ : thread;
  for (int other = thread == 0 ? 1 : 0; other < end; ++other) {
    const int taken = core_[static_cast<std::size_t>(other)].load(std::memory_order_relaxed);
    shared = shared || taken == core;
    if (taken >= 0) CPU_CLR(static_cast<std::size_t>(taken), &others);
  }
  if (!shared || CPU_COUNT(&others) == 0) return;
  cpu_set_t before;
  if (thread == 0 && sched_getaffinity(0, sizeof(before), &before) != 0) return;
  if (sched_setaffinity(0, sizeof(others), &others) != 0) return;
  if (thread == 0) sched_setaffinity(0, sizeof(before), &before);
  core_[static_cast<std::size_t>(thread)].store(sched_getcpu(), std::memory_order_relaxed);
}

void ThreadTeam::call_and_keep_exception(int thread) {
  try {
    call_(context_, thread);
  } catch (...) {
    exceptions_[static_cast<std::size_t>(thread)] = std::current_exception();
  }
}

void ThreadTeam::dispatch(Call call, void* context) {
  CHECK(!running_);
  running_ = true;
  call_ = call;
  context_ = context;
  if (size_ > 1) {
    settle(0);
    pending_.store(static_cast<std::uint32_t>(size_ - 1), std::memory_order_relaxed);
    round_.fetch_add(1, std::memory_order_release);
    round_.notify_all();
  }
  call_and_keep_exception(0);
  if (size_ > 1) {
    std::uint32_t left = pending_.load(std::memory_order_acquire);
    while (left != 0) left = wait_for_change(pending_, left, spins_);
  }
  running_ = false;
  for (std::exception_ptr& exception : exceptions_) {
    if (exception == nullptr) continue;
    const std::exception_ptr first = exception;
    for (std::exception_ptr& any : exceptions_) any = nullptr;
    std::rethrow_exception(first);
  }
}

void ThreadTeam::work(int thread) {
  std::uint32_t seen = 0;
  while (true) {
    seen = wait_for_change(round_, seen, spins_);
    if (stop_) return;
    settle(thread);
    call_and_keep_exception(thread);
    if (pending_.fetch_sub(1, std::memory_order_acq_rel) == 1) pending_.notify_one();
  }
}

}  // namespace nll::cpu
