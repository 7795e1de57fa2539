// A file system in memory for tests. It keeps what was written and what is on the disk apart, counts its calls, can
// make one of them fail or stop the process there, and enumerates what a power cut may leave.
//
// What a power cut may leave: for each folder, its entries as of its last fsync plus any prefix of the changes since (a
// journal keeps changes of one folder in order; folders are independent of each other); for each file with bytes that
// were not fsynced: the bytes of the last fsync, nothing, zeros of the new length (allocated, not written), the first
// half, or everything.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "src/checkpoint/file_ops.h"

namespace nll::testing {

enum class Fault { none, fail, short_transfer, kill };

struct FaultPlan {
  Fault fault = Fault::none;
  int call = 0;               // 1 is the first call
  int error = 0;              // EIO, ... for Fault::fail
  bool from_then_on = false;  // every later call of the same plan fails as well
};

struct Killed {};  // thrown at the call where the process dies; afterwards no call has any effect

class MemoryFileOps final : public FileOps {
 public:
  MemoryFileOps();
  MemoryFileOps(const MemoryFileOps& other);  // a deep copy, with no open files and no plan

  void plan(const FaultPlan& plan) { plan_ = plan, calls_ = 0, fired_ = false; }
  int calls() const { return calls_; }
  bool fired() const { return fired_; }                         // the planned fault has had an effect
  const std::vector<std::string>& log() const { return log_; }  // one name a call since the plan
  std::int64_t capacity = 1 << 30;                              // bytes of all files together
  bool folders_can_sync = true;                                 // false: sync_folder is -EINVAL

  // Each state of the disk that a power cut now may leave.
  void for_each_power_cut(const std::function<void(MemoryFileOps&)>& outcome) const;
  std::vector<std::string> tree() const;          // paths of all files and folders, sorted
  std::string& content(const std::string& path);  // of an existing file, as written
  int open_files() const { return static_cast<int>(descriptors_.size()); }

  int create(const std::string& path) override;
  int open_read(const std::string& path) override;
  std::int64_t size(int descriptor) override;
  int allocate(int descriptor, std::int64_t bytes) override;
  std::int64_t write(int descriptor, const void* data, std::int64_t bytes, std::int64_t offset) override;
  std::int64_t read(int descriptor, void* data, std::int64_t bytes, std::int64_t offset) override;
  int sync(int descriptor) override;
  int close(int descriptor) override;
  int make_folder(const std::string& path) override;
  int sync_folder(const std::string& path) override;
  int rename(const std::string& from, const std::string& to) override;
  int remove(const std::string& path) override;
  int list(const std::string& path, std::vector<std::string>& names) override;
  std::int64_t free_bytes(const std::string& path) override;

 private:
  struct Node;
  using NodePointer = std::shared_ptr<Node>;
  using Entries = std::map<std::string, NodePointer>;
  struct Change {  // one atomic change of a folder: removes `gone`, sets `name` to `node`; either may be absent
    std::string gone, name;
    NodePointer node;
  };
  struct Node {
    bool is_folder = false;
    std::string written, durable;  // a file's bytes
    bool pages_dropped = false;    // a failed fsync: later ones succeed and change nothing
    Entries entries, durable_entries;
    std::vector<Change> changes;  // of entries since the last fsync
  };

  static void apply(Entries& entries, const Change& change);
  static NodePointer copy(const NodePointer& node, std::map<const Node*, NodePointer>& copies);
  std::optional<int> begin(const char* name, bool transfers = false);  // an error to return, or nothing: go on
  NodePointer find(const std::string& path) const;
  NodePointer find_parent(const std::string& path, std::string& name) const;
  void change(const NodePointer& folder, Change change);
  std::int64_t used_bytes() const;

  NodePointer root_;
  std::map<int, NodePointer> descriptors_;
  int next_descriptor_ = 3;
  FaultPlan plan_;
  int calls_ = 0;
  bool fired_ = false, frozen_ = false, cut_short_ = false;
  std::vector<std::string> log_;
};

}  // namespace nll::testing
