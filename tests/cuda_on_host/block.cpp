#include "tests/cuda_on_host/block.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <new>
#include <utility>

#include "kernels/check.h"
#include "tests/cuda_on_host/fiber.h"

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace nll::cuda_on_host {
namespace {

// Thrown through a thread that waits when another thread of its block has failed.
struct Abandoned {};

std::string in_brackets(uint3 at) {
  return "(" + std::to_string(at.x) + "," + std::to_string(at.y) + "," + std::to_string(at.z) + ")";
}

std::string place(const char* file, int line) { return std::string(file) + ":" + std::to_string(line); }

bool same_place(const Meeting& a, const Meeting& b) {
  const auto equal = [](const char* x, const char* y) { return x == y || std::strcmp(x, y) == 0; };
  return a.line == b.line && a.mask == b.mask && equal(a.name, b.name) && equal(a.file, b.file);
}

// A fiber that runs threads: one after the other where they never wait, so that a kernel without barriers needs one.
struct Carrier {
  template <class Body>
  Carrier(Body body, void* runner) : fiber(body, this), owner(runner) {}
  Fiber fiber;
  void* owner;
  int thread = 0;
};

struct Thread {
  enum class State { unstarted, ready, waiting, done };
  uint3 index{};
  State state = State::unstarted;
  Carrier* carrier = nullptr;
  const Meeting* meeting = nullptr;
  PendingCopies pending;
};

class Runner {
 public:
  void run(const Launch& launch);
  void meet(const Meeting& meeting, Combine combine);
  [[noreturn]] void fail(const std::string& text) const;

  unsigned char* shared() const { return shared_.get(); }
  int current() const { return current_; }
  Thread& current_thread() { return threads_[static_cast<std::size_t>(current_)]; }

 private:
  struct Free {
    void operator()(unsigned char* memory) const { std::free(memory); }
  };

  int count() const { return static_cast<int>(threads_.size()); }
  void prepare(const Launch& launch);
  void run_block();
  bool advance_warp(int first, int end);
  void start(int index, Carrier* carrier);
  void carry(Carrier* carrier);
  void abandon();
  void release(Thread& thread);
  bool complete(const Meeting& meeting, Combine combine, int first, int end);
  [[noreturn]] void report_standstill();

  const Launch* launch_ = nullptr;
  std::vector<Thread> threads_;
  std::vector<std::uint32_t> waiting_lanes_;  // a warp each: lanes that wait for others of the warp
  std::vector<void*> parts_;
  std::vector<std::unique_ptr<Carrier>> carriers_;
  std::vector<Carrier*> idle_;
  std::unique_ptr<unsigned char, Free> shared_;
  std::size_t shared_bytes_ = 0;
  int current_ = 0, next_unstarted_ = 0, done_ = 0, at_barrier_ = 0;
  bool abandoning_ = false;
  std::exception_ptr failure_;
};

Runner& runner() {
  static Runner only;
  return only;
}

void Runner::fail(const std::string& text) const {
  throw KernelFault(launch_->name() + ", block " + in_brackets(blockIdx) + ", thread " +
                    in_brackets(threads_[static_cast<std::size_t>(current_)].index) + ": " + text);
}

void Runner::prepare(const Launch& launch) {
  const dim3 size = launch.block;
  const std::size_t total = static_cast<std::size_t>(size.x) * size.y * size.z;
  threads_.resize(total);
  waiting_lanes_.resize((total + 31) / 32);
  std::size_t i = 0;
  for (unsigned z = 0; z < size.z; ++z) {
    for (unsigned y = 0; y < size.y; ++y) {
      for (unsigned x = 0; x < size.x; ++x) threads_[i++].index = {x, y, z};
    }
  }
  if (shared_ == nullptr || shared_bytes_ != launch.shared_bytes) {
    void* memory = nullptr;
    if (posix_memalign(&memory, 128, launch.shared_bytes) != 0) throw std::bad_alloc();
    shared_.reset(static_cast<unsigned char*>(memory));
    shared_bytes_ = launch.shared_bytes;
  }
  blockDim = launch.block;
  gridDim = launch.grid;
}

void Runner::run(const Launch& launch) {
  CHECK(launch_ == nullptr);
  launch_ = &launch;
  struct Leave {
    const Launch*& launch;
    ~Leave() { launch = nullptr; }
  } leave{launch_};
  prepare(launch);
  for (unsigned z = 0; z < launch.grid.z; ++z) {
    for (unsigned y = 0; y < launch.grid.y; ++y) {
      for (unsigned x = 0; x < launch.grid.x; ++x) {
        blockIdx = {x, y, z};
        run_block();
      }
    }
  }
}

void Runner::run_block() {
  for (Thread& thread : threads_) {
    thread.state = Thread::State::unstarted;
    thread.pending.copies.clear();
    thread.pending.group_ends.clear();
  }
  std::fill(waiting_lanes_.begin(), waiting_lanes_.end(), 0u);
  if (shared_bytes_ > 0) std::memset(shared_.get(), 0xff, shared_bytes_);
  next_unstarted_ = done_ = at_barrier_ = 0;
  while (done_ < count()) {
    bool moved = false;
    // A warp goes as far as it can before the next: its lanes meet more often than warps do.
    for (int first = 0; first < count() && failure_ == nullptr; first += 32) {
      while (failure_ == nullptr && advance_warp(first, std::min(first + 32, count()))) moved = true;
    }
    if (failure_ == nullptr && !moved) {
      try {
        report_standstill();
      } catch (...) {
        failure_ = std::current_exception();
      }
    }
    if (failure_ != nullptr) abandon();
  }
}

bool Runner::advance_warp(int first, int end) {
  bool moved = false;
  for (int i = first; i < end && failure_ == nullptr; ++i) {
    Thread& thread = threads_[static_cast<std::size_t>(i)];
    if (thread.state == Thread::State::unstarted) {
      if (idle_.empty()) {
        const auto body = [](void* carrier) {
          Carrier* const self = static_cast<Carrier*>(carrier);
          static_cast<Runner*>(self->owner)->carry(self);
        };
        carriers_.push_back(std::make_unique<Carrier>(body, this));
        idle_.push_back(carriers_.back().get());
      }
      Carrier* const carrier = idle_.back();
      idle_.pop_back();
      start(i, carrier);
    } else if (thread.state == Thread::State::ready) {
      current_ = i;
      threadIdx = thread.index;
    } else {
      continue;
    }
    moved = true;
    thread.carrier->fiber.resume();
  }
  return moved;
}

void Runner::start(int index, Carrier* carrier) {
  Thread& thread = threads_[static_cast<std::size_t>(index)];
  thread.state = Thread::State::ready;
  thread.carrier = carrier;
  carrier->thread = index;
  current_ = index;
  next_unstarted_ = index + 1;
  threadIdx = thread.index;
}

void Runner::carry(Carrier* carrier) {
  while (true) {
    try {
      launch_->kernel();
    } catch (const Abandoned&) {
    } catch (...) {
      if (failure_ == nullptr) failure_ = std::current_exception();
    }
    threads_[static_cast<std::size_t>(carrier->thread)].state = Thread::State::done;
    ++done_;
    if (failure_ == nullptr && next_unstarted_ < count()) {
      start(next_unstarted_, carrier);
    } else {
      idle_.push_back(carrier);
      carrier->fiber.stop();
    }
  }
}

// Lets every thread that waits leave by an exception, so that what is on its stack is destroyed; then throws.
void Runner::abandon() {
  abandoning_ = true;
  for (int i = 0; i < count(); ++i) {
    Thread& thread = threads_[static_cast<std::size_t>(i)];
    if (thread.state == Thread::State::unstarted || thread.state == Thread::State::done) continue;
    current_ = i;
    threadIdx = thread.index;
    thread.carrier->fiber.resume();
  }
  abandoning_ = false;
  std::rethrow_exception(std::exchange(failure_, nullptr));
}

void Runner::release(Thread& thread) {
  thread.state = Thread::State::ready;
  thread.meeting = nullptr;
}

// Whether all of [first, end) that the meeting is for wait in it; then they may go on.
bool Runner::complete(const Meeting& meeting, Combine combine, int first, int end) {
  const auto takes_part = [&](int i) { return meeting.mask == 0 || ((meeting.mask >> (i - first)) & 1u) != 0; };
  parts_.assign(static_cast<std::size_t>(meeting.mask == 0 ? count() : 32), nullptr);
  for (int i = first; i < end; ++i) {
    if (!takes_part(i)) continue;
    const Meeting* const other = threads_[static_cast<std::size_t>(i)].meeting;
    if (other == nullptr || !same_place(meeting, *other)) return false;
    parts_[static_cast<std::size_t>(i - first)] = other->data;
  }
  if (combine != nullptr) combine(parts_.data(), static_cast<int>(parts_.size()));
  for (int i = first; i < end; ++i) {
    if (takes_part(i)) release(threads_[static_cast<std::size_t>(i)]);
  }
  return true;
}

void Runner::meet(const Meeting& meeting, Combine combine) {
  CHECK(launch_ != nullptr);
  if (abandoning_) throw Abandoned{};
  Thread& me = current_thread();
  me.meeting = &meeting;
  if (meeting.mask == 0) {
    if (++at_barrier_ == count() && complete(meeting, combine, 0, count())) {
      at_barrier_ = 0;
      return;
    }
  } else {
    const int lane = current_ % 32, first = current_ - lane;
    std::uint32_t& waiting = waiting_lanes_[static_cast<std::size_t>(first / 32)];
    if (((meeting.mask >> lane) & 1u) == 0) {
      fault(std::string(meeting.name) + ": the mask does not name the calling lane", meeting.file, meeting.line);
    }
    waiting |= 1u << lane;
    if ((waiting & meeting.mask) == meeting.mask && complete(meeting, combine, first, std::min(first + 32, count()))) {
      waiting &= ~meeting.mask;
      return;
    }
  }
  me.state = Thread::State::waiting;
  me.carrier->fiber.stop();
  if (abandoning_) throw Abandoned{};
}

// Nobody can go on: says of the first thread that waits where, and for whom.
void Runner::report_standstill() {
  current_ = 0;
  while (current_thread().state != Thread::State::waiting) ++current_;
  const Meeting& meeting = *current_thread().meeting;
  const int first = meeting.mask == 0 ? 0 : current_ - current_ % 32;
  const int end = meeting.mask == 0 ? count() : first + 32;
  std::string text = place(meeting.file, meeting.line) + ": waits in " + meeting.name;
  for (int i = first; i < end; ++i) {
    if (meeting.mask != 0 && ((meeting.mask >> (i - first)) & 1u) == 0) continue;
    if (i >= count()) fail(text + " for lane " + std::to_string(i - first) + ", which the block does not have");
    const Thread& other = threads_[static_cast<std::size_t>(i)];
    if (other.state == Thread::State::done) {
      fail(text + " for thread " + in_brackets(other.index) + ", which has returned");
    }
    if (!same_place(meeting, *other.meeting)) {
      std::string elsewhere =
          std::string(other.meeting->name) + " at " + place(other.meeting->file, other.meeting->line);
      if (other.meeting->mask != meeting.mask) elsewhere += " with another mask";
      fail(text + " for thread " + in_brackets(other.index) + ", which waits in " + elsewhere);
    }
  }
  fail(text + " and nobody can go on");
}

}  // namespace

void run(const Launch& launch) { runner().run(launch); }
void meet(const Meeting& meeting, Combine combine) { runner().meet(meeting, combine); }
void fault(const std::string& text, const char* file, int line) { runner().fail(place(file, line) + ": " + text); }
unsigned char* dynamic_shared_memory() { return runner().shared(); }
int current_lane() { return runner().current() % 32; }
PendingCopies& current_pending_copies() { return runner().current_thread().pending; }

}  // namespace nll::cuda_on_host
