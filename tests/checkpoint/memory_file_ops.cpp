#include "tests/checkpoint/memory_file_ops.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <exception>
#include <set>
#include <stdexcept>

namespace nll::testing {

MemoryFileOps::MemoryFileOps() : root_(std::make_shared<Node>()) { root_->is_folder = true; }

MemoryFileOps::NodePointer MemoryFileOps::copy(const NodePointer& node, std::map<const Node*, NodePointer>& copies) {
  if (const auto known = copies.find(node.get()); known != copies.end()) return known->second;
  const auto fresh = std::make_shared<Node>(*node);
  copies[node.get()] = fresh;
  for (auto* entries : {&fresh->entries, &fresh->durable_entries}) {
    for (auto& [name, child] : *entries) child = copy(child, copies);
  }
  for (Change& change : fresh->changes) {
    if (change.node) change.node = copy(change.node, copies);
  }
  return fresh;
}

MemoryFileOps::MemoryFileOps(const MemoryFileOps& other)
    : FileOps(), capacity(other.capacity), folders_can_sync(other.folders_can_sync) {
  std::map<const Node*, NodePointer> copies;
  root_ = copy(other.root_, copies);
}

std::optional<int> MemoryFileOps::begin(const char* name, bool transfers) {
  cut_short_ = false;
  if (frozen_) return -EIO;
  ++calls_;
  log_.resize(static_cast<std::size_t>(calls_) - 1);
  log_.emplace_back(name);
  if (plan_.fault == Fault::none) return {};
  if (calls_ != plan_.call && !(plan_.from_then_on && calls_ > plan_.call)) return {};
  if (plan_.fault == Fault::short_transfer) {
    cut_short_ = transfers;
    fired_ = fired_ || transfers;
    return {};
  }
  fired_ = true;
  if (plan_.fault == Fault::fail) return -plan_.error;
  frozen_ = true;
  if (std::uncaught_exceptions() > 0) return -EIO;  // a destructor's call: it may not throw
  throw Killed{};
}

MemoryFileOps::NodePointer MemoryFileOps::find(const std::string& path) const {
  NodePointer node = root_;
  for (std::size_t at = 0; at < path.size();) {
    const std::size_t slash = std::min(path.find('/', at), path.size());
    const std::string part = path.substr(at, slash - at);
    at = slash + 1;
    if (part.empty() || part == ".") continue;
    const auto child = node->entries.find(part);
    if (!node->is_folder || child == node->entries.end()) return nullptr;
    node = child->second;
  }
  return node;
}

MemoryFileOps::NodePointer MemoryFileOps::find_parent(const std::string& path, std::string& name) const {
  const std::size_t slash = path.rfind('/');
  name = slash == std::string::npos ? path : path.substr(slash + 1);
  return slash == std::string::npos ? root_ : find(path.substr(0, slash));
}

void MemoryFileOps::apply(Entries& entries, const Change& change) {
  if (!change.gone.empty()) entries.erase(change.gone);
  if (!change.name.empty()) entries[change.name] = change.node;
}

void MemoryFileOps::change(const NodePointer& folder, Change change) {
  apply(folder->entries, change);
  folder->changes.push_back(std::move(change));
}

std::int64_t MemoryFileOps::used_bytes() const {
  std::int64_t bytes = 0;
  std::vector<NodePointer> open = {root_};
  while (!open.empty()) {
    const NodePointer node = open.back();
    open.pop_back();
    bytes += static_cast<std::int64_t>(node->written.size());
    for (const auto& [name, child] : node->entries) open.push_back(child);
  }
  return bytes;
}

int MemoryFileOps::create(const std::string& path) {
  if (const auto error = begin("create")) return *error;
  std::string name;
  const NodePointer parent = find_parent(path, name);
  if (!parent) return -ENOENT;
  if (parent->entries.contains(name)) return -EEXIST;
  const auto node = std::make_shared<Node>();
  change(parent, {"", name, node});
  descriptors_[next_descriptor_] = node;
  return next_descriptor_++;
}

int MemoryFileOps::open_read(const std::string& path) {
  if (const auto error = begin("open_read")) return *error;
  const NodePointer node = find(path);
  if (!node) return -ENOENT;
  descriptors_[next_descriptor_] = node;
  return next_descriptor_++;
}

std::int64_t MemoryFileOps::size(int descriptor) {
  if (const auto error = begin("size")) return *error;
  const NodePointer& node = descriptors_.at(descriptor);
  return node->is_folder ? -EINVAL : static_cast<std::int64_t>(node->written.size());
}

int MemoryFileOps::allocate(int descriptor, std::int64_t bytes) {
  if (const auto error = begin("allocate")) return *error;
  if (bytes <= 0) return -EINVAL;
  std::string& written = descriptors_.at(descriptor)->written;
  const auto grown = std::max<std::int64_t>(0, bytes - static_cast<std::int64_t>(written.size()));
  if (used_bytes() + grown > capacity) return -ENOSPC;
  written.resize(written.size() + static_cast<std::size_t>(grown), '\0');
  return 0;
}

std::int64_t MemoryFileOps::write(int descriptor, const void* data, std::int64_t bytes, std::int64_t offset) {
  if (const auto error = begin("write", bytes > 1)) return *error;
  if (cut_short_) bytes /= 2;
  std::string& written = descriptors_.at(descriptor)->written;
  const auto end = static_cast<std::size_t>(offset + bytes);
  if (end > written.size()) {
    if (used_bytes() + static_cast<std::int64_t>(end - written.size()) > capacity) return -ENOSPC;
    written.resize(end, '\0');
  }
  std::memcpy(written.data() + offset, data, static_cast<std::size_t>(bytes));
  return bytes;
}

std::int64_t MemoryFileOps::read(int descriptor, void* data, std::int64_t bytes, std::int64_t offset) {
  if (const auto error = begin("read", bytes > 1)) return *error;
  if (cut_short_) bytes /= 2;
  const std::string& written = descriptors_.at(descriptor)->written;
  const auto left = static_cast<std::int64_t>(written.size()) - offset;
  const std::int64_t got = std::max<std::int64_t>(0, std::min(bytes, left));
  std::memcpy(data, written.data() + offset, static_cast<std::size_t>(got));
  return got;
}

int MemoryFileOps::sync(int descriptor) {
  const NodePointer& node = descriptors_.at(descriptor);
  if (const auto error = begin("sync")) {
    if (!frozen_ && *error != -EINTR) node->pages_dropped = true;
    return *error;
  }
  if (!node->pages_dropped) node->durable = node->written;
  return 0;
}

int MemoryFileOps::close(int descriptor) {
  const auto error = begin("close");
  if (frozen_) return -EIO;
  if (descriptors_.erase(descriptor) == 0) throw std::logic_error("closed twice");
  return error.value_or(0);  // the descriptor is gone either way, as on Linux
}

int MemoryFileOps::make_folder(const std::string& path) {
  if (const auto error = begin("make_folder")) return *error;
  std::string name;
  const NodePointer parent = find_parent(path, name);
  if (!parent) return -ENOENT;
  if (parent->entries.contains(name)) return -EEXIST;
  const auto node = std::make_shared<Node>();
  node->is_folder = true;
  change(parent, {"", name, node});
  return 0;
}

int MemoryFileOps::sync_folder(const std::string& path) {
  if (const auto error = begin("sync_folder")) return *error;
  const NodePointer node = find(path);
  if (!node) return -ENOENT;
  if (!folders_can_sync) return -EINVAL;
  node->durable_entries = node->entries;
  node->changes.clear();
  return 0;
}

int MemoryFileOps::rename(const std::string& from, const std::string& to) {
  if (const auto error = begin("rename")) return *error;
  std::string from_name, to_name;
  const NodePointer parent = find_parent(from, from_name);
  if (parent != find_parent(to, to_name)) throw std::logic_error("renames across folders are not modelled");
  if (!parent || !parent->entries.contains(from_name)) return -ENOENT;
  const auto target = parent->entries.find(to_name);
  if (target != parent->entries.end() && !target->second->entries.empty()) return -ENOTEMPTY;
  change(parent, {from_name, to_name, parent->entries.at(from_name)});
  return 0;
}

int MemoryFileOps::remove(const std::string& path) {
  if (const auto error = begin("remove")) return *error;
  std::string name;
  const NodePointer parent = find_parent(path, name);
  if (!parent || !parent->entries.contains(name)) return -ENOENT;
  if (!parent->entries.at(name)->entries.empty()) return -ENOTEMPTY;
  change(parent, {name, "", nullptr});
  return 0;
}

int MemoryFileOps::list(const std::string& path, std::vector<std::string>& names) {
  names.clear();
  if (const auto error = begin("list")) return *error;
  const NodePointer node = find(path);
  if (!node) return -ENOENT;
  if (!node->is_folder) return -ENOTDIR;
  for (const auto& [name, child] : node->entries) names.push_back(name);
  return 0;
}

std::int64_t MemoryFileOps::free_bytes(const std::string& path) {
  if (const auto error = begin("free_bytes")) return *error;
  return find(path) ? capacity - used_bytes() : -ENOENT;
}

void MemoryFileOps::for_each_power_cut(const std::function<void(MemoryFileOps&)>& outcome) const {
  // All nodes that some outcome may show, in a fixed order, and how many choices each has.
  std::vector<const Node*> folders, files;
  std::set<const Node*> seen;
  std::vector<const Node*> open = {root_.get()};
  while (!open.empty()) {
    const Node* node = open.back();
    open.pop_back();
    if (!seen.insert(node).second) continue;
    if (node->is_folder && !node->changes.empty()) folders.push_back(node);
    if (!node->is_folder && node->written != node->durable) files.push_back(node);
    for (const auto* entries : {&node->entries, &node->durable_entries}) {
      for (const auto& [name, child] : *entries) open.push_back(child.get());
    }
    for (const Change& pending : node->changes) {
      if (pending.node) open.push_back(pending.node.get());
    }
  }
  const auto cut_content = [](const Node& node, int variant) -> std::string {
    const std::string& all = node.written;
    if (variant == 0) return node.durable;
    if (variant == 1) return "";
    if (variant == 2) return std::string(all.size(), '\0');
    if (variant == 3) return all.substr(0, all.size() / 2);
    return all;
  };
  constexpr int variants = 5;
  std::vector<std::size_t> kept(folders.size(), 0);  // changes kept of each folder
  for (bool more = true; more;) {
    // Contents: all files alike, and each file alone while the others are whole.
    const int rounds = files.empty() ? 1 : variants + static_cast<int>(files.size()) * (variants - 1);
    for (int round = 0; round < rounds; ++round) {
      MemoryFileOps after(*this);
      std::map<const Node*, NodePointer> copies;
      after.root_ = copy(root_, copies);
      for (auto& [original, node] : copies) {
        node->entries = node->durable_entries;
        node->written = node->durable;
      }
      for (std::size_t i = 0; i < folders.size(); ++i) {
        Node& node = *copies.at(folders[i]);
        for (std::size_t k = 0; k < kept[i]; ++k) apply(node.entries, node.changes[k]);
      }
      for (std::size_t i = 0; i < files.size(); ++i) {
        const int alone = round - variants;
        const int variant = round < variants                                ? round
                            : alone / (variants - 1) == static_cast<int>(i) ? alone % (variants - 1)
                                                                            : variants - 1;
        copies.at(files[i])->written = cut_content(*files[i], variant);
      }
      for (auto& [original, node] : copies) {
        node->durable_entries = node->entries;
        node->durable = node->written;
        node->changes.clear();
        node->pages_dropped = false;
      }
      outcome(after);
    }
    more = false;
    for (std::size_t i = 0; i < folders.size() && !more; ++i) {
      more = kept[i] < folders[i]->changes.size();
      kept[i] = more ? kept[i] + 1 : 0;
    }
  }
}

std::vector<std::string> MemoryFileOps::tree() const {
  std::vector<std::string> paths;
  const std::function<void(const Node&, const std::string&)> visit = [&](const Node& node, const std::string& path) {
    for (const auto& [name, child] : node.entries) {
      paths.push_back(path + "/" + name);
      visit(*child, path + "/" + name);
    }
  };
  visit(*root_, "");
  std::sort(paths.begin(), paths.end());
  return paths;
}

std::string& MemoryFileOps::content(const std::string& path) {
  const NodePointer node = find(path);
  if (!node) throw std::logic_error("no such file: " + path);
  return node->written;
}

}  // namespace nll::testing
