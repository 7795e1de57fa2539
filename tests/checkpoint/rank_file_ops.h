// One rank's view of a file system in memory that several ranks share, each in a thread of its own. Calls of one rank
// are counted, failed and killed without regard to what the others do at that moment.
#pragma once
#include <cerrno>
#include <exception>
#include <mutex>
#include <string>
#include <vector>

#include "tests/checkpoint/memory_file_ops.h"

namespace nll::testing {

// Fault::fail and Fault::kill of a FaultPlan; a killed rank has no effect on the disk any more.
class RankFileOps final : public FileOps {
 public:
  RankFileOps(MemoryFileOps& disk, std::mutex& mutex) : disk_(disk), mutex_(mutex) {}
  void plan(const FaultPlan& plan) { plan_ = plan, log_.clear(); }
  const std::vector<std::string>& log() const { return log_; }

  int create(const std::string& path) override {
    return call<int>("create", [&] { return disk_.create(path); });
  }
  int open_read(const std::string& path) override {
    return call<int>("open_read", [&] { return disk_.open_read(path); });
  }
  std::int64_t size(int descriptor) override {
    return call<std::int64_t>("size", [&] { return disk_.size(descriptor); });
  }
  int allocate(int descriptor, std::int64_t bytes) override {
    return call<int>("allocate", [&] { return disk_.allocate(descriptor, bytes); });
  }
  std::int64_t write(int descriptor, const void* data, std::int64_t bytes, std::int64_t offset) override {
    return call<std::int64_t>("write", [&] { return disk_.write(descriptor, data, bytes, offset); });
  }
  std::int64_t read(int descriptor, void* data, std::int64_t bytes, std::int64_t offset) override {
    return call<std::int64_t>("read", [&] { return disk_.read(descriptor, data, bytes, offset); });
  }
  int sync(int descriptor) override {
    return call<int>("sync", [&] { return disk_.sync(descriptor); });
  }
  int close(int descriptor) override {
    return call<int>("close", [&] { return disk_.close(descriptor); });
  }
  int make_folder(const std::string& path) override {
    return call<int>("make_folder", [&] { return disk_.make_folder(path); });
  }
  int sync_folder(const std::string& path) override {
    return call<int>("sync_folder", [&] { return disk_.sync_folder(path); });
  }
  int rename(const std::string& from, const std::string& to) override {
    return call<int>("rename", [&] { return disk_.rename(from, to); });
  }
  int remove(const std::string& path) override {
    return call<int>("remove", [&] { return disk_.remove(path); });
  }
  int list(const std::string& path, std::vector<std::string>& names) override {
    return call<int>("list", [&] { return disk_.list(path, names); });
  }
  std::int64_t free_bytes(const std::string& path) override {
    return call<std::int64_t>("free_bytes", [&] { return disk_.free_bytes(path); });
  }

 private:
  template <class Result, class Call>
  Result call(const char* name, const Call& forward) {
    const std::lock_guard lock(mutex_);
    if (dead_) return -EIO;
    log_.emplace_back(name);
    if (plan_.fault == Fault::none || static_cast<int>(log_.size()) != plan_.call) return forward();
    if (plan_.fault == Fault::kill) {
      dead_ = true;
      if (std::uncaught_exceptions() > 0) return -EIO;  // a destructor's call: it may not throw
      throw Killed{};
    }
    // The disk knows what else a failed call does: a descriptor is gone, pages are dropped.
    disk_.plan({Fault::fail, 1, plan_.error});
    const Result result = forward();
    disk_.plan({});
    return result;
  }

  MemoryFileOps& disk_;
  std::mutex& mutex_;
  FaultPlan plan_;
  std::vector<std::string> log_;
  bool dead_ = false;
};

}  // namespace nll::testing
