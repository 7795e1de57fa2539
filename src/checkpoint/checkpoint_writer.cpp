#include "src/checkpoint/checkpoint_writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "src/checkpoint/checkpoint_layout.h"
#include "src/checkpoint/file_io.h"
#include "src/checkpoint/manifest.h"

namespace nll {
namespace {

struct PlannedFile {
  ManifestFile entry;                                 // name and size; the checksum once it is written
  std::string head;                                   // a text file's content, or size and header of a safetensors file
  const std::vector<NamedTensor>* tensors = nullptr;  // follow the head
  OpenFile file;
  bool made = false;
};

PlannedFile plan_tensors(const std::string& name, const std::vector<NamedTensor>& tensors) {
  std::map<std::string, std::string> metadata = {{"format", "pt"}};
  for (const NamedTensor& named : tensors) {
    if (!named.whole.empty()) metadata[named.name.substr(0, named.name.rfind('@'))] = shape_text(named.whole);
  }
  PlannedFile planned;
  const std::string header = make_safetensors_header(tensors, metadata);
  const std::uint64_t header_bytes = header.size();
  planned.head.resize(8);
  std::memcpy(planned.head.data(), &header_bytes, 8);
  planned.head += header;
  planned.tensors = &tensors;
  planned.entry = {name, static_cast<std::int64_t>(planned.head.size()), ""};
  for (const NamedTensor& named : tensors) planned.entry.bytes += named.tensor.bytes();
  return planned;
}

}  // namespace

struct CheckpointWriter::Plan {
  FileOps& files;
  const CheckpointContent& content;
  const World& world;
  std::string folder{};
  std::vector<PlannedFile> own{};          // the manifest apart, weights first on rank 0
  std::size_t optimizer = SIZE_MAX;        // which of `own`
  std::vector<ManifestFile> optimizers{};  // by rank; no name: has none
  PlannedFile manifest{};
  std::vector<char> buffer{};
  std::int64_t needed = 0, free = 0;

  bool first() const { return world.rank == 0; }
  std::string path(const std::string& name) const { return folder + "/" + name; }

  void check(std::int64_t result, const std::string& at, const std::string& action) const {
    if (result < 0) fail(at, action, result);
  }
  [[noreturn]] void fail(const std::string& at, const std::string& action, std::int64_t error) const {
    if (!is_out_of_space(error)) throw_file_error(at, action, error);
    throw Error(Exit::resources,
                fmt::format("{}: no room for a checkpoint: {} bytes needed, {} bytes free ({}: {})", at, needed, free,
                            action, error_text(error)),
                "free some space, keep fewer checkpoints (checkpoint.keep_last), or move the run to a larger disk");
  }

  std::string manifest_text() const {
    Manifest text{content.step, content.manifest, {}, world.size};
    const auto list = [&](const ManifestFile& entry) {
      text.files.push_back(entry);
      if (entry.xxh3.empty()) text.files.back().xxh3.assign(32, '0');
    };
    list(own.front().entry);
    for (const ManifestFile& entry : optimizers) {
      if (!entry.name.empty()) list(entry);
    }
    for (std::size_t i = 1; i < own.size(); ++i) {
      if (i != optimizer) list(own[i].entry);
    }
    return make_manifest(text);
  }

  void create(PlannedFile& planned) {
    const std::string at = path(planned.entry.name);
    const int descriptor = retry_interrupted([&] { return files.create(at); });
    check(descriptor, at, "create");
    planned.made = true;
    planned.file = OpenFile(files, at, descriptor);
    if (planned.entry.bytes == 0) return;  // posix_fallocate refuses zero bytes
    const int allocated = retry_interrupted([&] { return files.allocate(descriptor, planned.entry.bytes); });
    if (allocated != -ENOTSUP) check(allocated, at, "allocate");
  }

  void write(PlannedFile& planned) {
    const std::string& at = planned.file.path();
    HashedWriter out(files, planned.file.descriptor(), buffer);
    check(out.append(planned.head.data(), static_cast<std::int64_t>(planned.head.size())), at, "write");
    if (planned.tensors != nullptr) {
      for (const NamedTensor& named : *planned.tensors) {
        check(out.append(named.tensor.data(), named.tensor.bytes()), at, "write");
      }
    }
    check(out.flush(), at, "write");
    // A failed fsync is final: the kernel may have dropped the pages, and a second one would succeed without them.
    check(retry_interrupted([&] { return files.sync(planned.file.descriptor()); }), at, "fsync");
    check(planned.file.close(), at, "close");
    planned.entry.xxh3 = out.digest();
  }

  void sync_folder() const { check(sync_folder_if_supported(files, folder), folder, "fsync the folder"); }
};

CheckpointWriter::CheckpointWriter(FileOps& files, const CheckpointContent& content, const World& world)
    : plan_(new Plan{files, content, world}) {
  CHECK(content.step >= 0);
  std::vector<PlannedFile>& own = plan_->own;
  if (plan_->first()) own.push_back(plan_tensors(weights_file, content.weights));
  if (!content.optimizer.empty()) {
    plan_->optimizer = own.size();
    own.push_back(plan_tensors(optimizer_file, content.optimizer));
  }
  if (!plan_->first()) return;
  for (const auto& [name, text] : content.texts) {
    CHECK(is_plain_file_name(name) == true);
    CHECK(name != weights_file);
    CHECK(is_optimizer_file(name) == false);
    CHECK(name != manifest_name);
    own.push_back({{name, static_cast<std::int64_t>(text.size()), ""}, text, nullptr, {}});
  }
}

CheckpointWriter::~CheckpointWriter() = default;

std::int64_t CheckpointWriter::optimizer_bytes() const {
  return plan_->optimizer < plan_->own.size() ? plan_->own[plan_->optimizer].entry.bytes : 0;
}

void CheckpointWriter::settle(const std::vector<std::int64_t>& optimizer_bytes) {
  Plan& plan = *plan_;
  CHECK(static_cast<int>(optimizer_bytes.size()) == plan.world.size);
  const auto count =
      std::count_if(optimizer_bytes.begin(), optimizer_bytes.end(), [](auto bytes) { return bytes > 0; });
  std::int64_t index = 0, largest = 1;
  for (const std::int64_t bytes : optimizer_bytes) {
    plan.optimizers.push_back({bytes > 0 ? optimizer_file_name(index++, count) : "", bytes, ""});
  }
  if (plan.optimizer < plan.own.size())
    plan.own[plan.optimizer].entry.name = plan.optimizers[static_cast<std::size_t>(plan.world.rank)].name;
  for (const PlannedFile& planned : plan.own) {
    plan.needed += planned.entry.bytes;
    largest = std::max(largest, planned.entry.bytes);
  }
  if (plan.first()) {
    for (std::size_t r = 1; r < optimizer_bytes.size(); ++r) plan.needed += optimizer_bytes[r];
    // The checksums are not known yet, but their length is: the manifest's size is exact, and so is the sum.
    const auto manifest_bytes = static_cast<std::int64_t>(plan.manifest_text().size());
    plan.manifest.entry = {manifest_name, manifest_bytes, ""};
    plan.needed += manifest_bytes;
    largest = std::max(largest, manifest_bytes);
  }
  plan.buffer.resize(static_cast<std::size_t>(std::min<std::int64_t>(largest, 4 << 20)));
}

// Finds out that the disk is full before anything is written rather than in the middle.
void CheckpointWriter::reserve(const std::string& folder) {
  Plan& plan = *plan_;
  plan.folder = folder;
  const std::string parent = folder.substr(0, folder.rfind('/'));
  plan.free = retry_interrupted([&] { return plan.files.free_bytes(parent); });
  if (plan.free < 0) throw_file_error(parent, "ask for the free space", plan.free);
  if (plan.free < plan.needed) plan.fail(parent, "statvfs", -ENOSPC);
  if (plan.first()) {
    plan.check(retry_interrupted([&] { return plan.files.make_folder(folder); }), folder, "make the folder");
  }
  for (PlannedFile& planned : plan.own) plan.create(planned);
  if (plan.first()) plan.create(plan.manifest);
}

void CheckpointWriter::write() {
  for (PlannedFile& planned : plan_->own) plan_->write(planned);
  // Rank 0 does that after the manifest, for all; but what one host has made another one's fsync may not know of.
  if (!plan_->first() && !plan_->own.empty()) plan_->sync_folder();
}

std::string CheckpointWriter::optimizer_digest() const {
  return optimizer_bytes() > 0 ? plan_->own[plan_->optimizer].entry.xxh3 : "";
}

void CheckpointWriter::write_manifest(const std::vector<std::string>& optimizer_digests) {
  Plan& plan = *plan_;
  for (std::size_t r = 0; r < optimizer_digests.size(); ++r) {
    ManifestFile& entry = plan.optimizers.at(r);
    CHECK(entry.name.empty() == optimizer_digests[r].empty());
    entry.xxh3 = optimizer_digests[r];
    if (r == 0 || entry.name.empty()) continue;
    const std::string at = plan.path(entry.name);
    OpenedFile opened = open_regular_file(plan.files, at);
    opened.file.close();
    const bool other_thing = opened.error == -ENOENT || opened.error == -EINVAL || opened.error == -ELOOP;
    if (opened.error != 0 && !other_thing) throw_file_error(at, "open", opened.error);
    if (opened.error == 0 && opened.bytes == entry.bytes) continue;
    throw Error(Exit::io,
                fmt::format("{}: {} (rank {} has written {} bytes)", at,
                            other_thing ? open_error_text(opened.error) : fmt::format("{} bytes", opened.bytes), r,
                            entry.bytes));
  }
  plan.manifest.head = plan.manifest_text();
  CHECK(static_cast<std::int64_t>(plan.manifest.head.size()) == plan.manifest.entry.bytes);
  plan.write(plan.manifest);
  plan.sync_folder();
}

void CheckpointWriter::remove() {
  const auto take_back = [&](PlannedFile& planned) {
    planned.file.close();
    if (planned.made) retry_interrupted([&] { return plan_->files.remove(plan_->path(planned.entry.name)); });
  };
  for (PlannedFile& planned : plan_->own) take_back(planned);
  take_back(plan_->manifest);
}

}  // namespace nll
