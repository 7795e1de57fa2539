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
};

PlannedFile plan_tensors(const std::string& name, const std::vector<NamedTensor>& tensors) {
  PlannedFile planned;
  const std::string header = make_safetensors_header(tensors, {{"format", "pt"}});
  const std::uint64_t header_bytes = header.size();
  planned.head.resize(8);
  std::memcpy(planned.head.data(), &header_bytes, 8);
  planned.head += header;
  planned.tensors = &tensors;
  planned.entry = {name, static_cast<std::int64_t>(planned.head.size()), ""};
  for (const NamedTensor& named : tensors) planned.entry.bytes += named.tensor.bytes();
  return planned;
}

std::vector<PlannedFile> plan_files(const CheckpointContent& content) {
  std::vector<PlannedFile> plan;
  plan.push_back(plan_tensors(weights_file, content.weights));
  if (!content.optimizer.empty()) plan.push_back(plan_tensors(optimizer_file, content.optimizer));
  for (const auto& [name, text] : content.texts) {
    CHECK(is_plain_file_name(name) == true);
    CHECK(name != weights_file);
    CHECK(name != optimizer_file);
    CHECK(name != manifest_name);
    plan.push_back({{name, static_cast<std::int64_t>(text.size()), ""}, text, nullptr, {}});
  }
  return plan;
}

std::string manifest_text(const CheckpointContent& content, const std::vector<PlannedFile>& plan) {
  Manifest manifest{content.step, content.manifest, {}};
  for (const PlannedFile& planned : plan) {
    manifest.files.push_back(planned.entry);
    if (manifest.files.back().xxh3.empty()) manifest.files.back().xxh3.assign(32, '0');
  }
  return make_manifest(manifest);
}

class Writer {
 public:
  Writer(FileOps& files, const std::string& folder) : files_(files), folder_(folder) {}

  // Finds out that the disk is full before anything is written rather than in the middle.
  void reserve(std::vector<PlannedFile>& plan) {
    std::int64_t largest = 1;
    for (const PlannedFile& planned : plan) {
      needed_ += planned.entry.bytes;
      largest = std::max(largest, planned.entry.bytes);
    }
    buffer_.resize(static_cast<std::size_t>(std::min<std::int64_t>(largest, 4 << 20)));
    const std::string parent = folder_.substr(0, folder_.rfind('/'));
    free_ = retry_interrupted([&] { return files_.free_bytes(parent); });
    if (free_ < 0) throw_file_error(parent, "ask for the free space", free_);
    if (free_ < needed_) fail(parent, "statvfs", -ENOSPC);
    check(retry_interrupted([&] { return files_.make_folder(folder_); }), folder_, "make the folder");
    for (PlannedFile& planned : plan) {
      const std::string path = folder_ + "/" + planned.entry.name;
      const int descriptor = retry_interrupted([&] { return files_.create(path); });
      check(descriptor, path, "create");
      planned.file = OpenFile(files_, path, descriptor);
      if (planned.entry.bytes == 0) continue;  // posix_fallocate refuses zero bytes
      const int allocated = retry_interrupted([&] { return files_.allocate(descriptor, planned.entry.bytes); });
      if (allocated != -ENOTSUP) check(allocated, path, "allocate");
    }
  }

  void write(PlannedFile& planned) {
    const std::string& path = planned.file.path();
    HashedWriter out(files_, planned.file.descriptor(), buffer_);
    check(out.append(planned.head.data(), static_cast<std::int64_t>(planned.head.size())), path, "write");
    if (planned.tensors != nullptr) {
      for (const NamedTensor& named : *planned.tensors) {
        check(out.append(named.tensor.data(), named.tensor.bytes()), path, "write");
      }
    }
    check(out.flush(), path, "write");
    // A failed fsync is final: the kernel may have dropped the pages, and a second one would succeed without them.
    check(retry_interrupted([&] { return files_.sync(planned.file.descriptor()); }), path, "fsync");
    check(planned.file.close(), path, "close");
    planned.entry.xxh3 = out.digest();
  }

  void sync_folder() { check(sync_folder_if_supported(files_, folder_), folder_, "fsync the folder"); }

 private:
  void check(std::int64_t result, const std::string& path, const std::string& action) const {
    if (result < 0) fail(path, action, result);
  }
  [[noreturn]] void fail(const std::string& path, const std::string& action, std::int64_t error) const {
    if (!is_out_of_space(error)) throw_file_error(path, action, error);
    throw Error(Exit::resources,
                fmt::format("{}: no room for a checkpoint: {} bytes needed, {} bytes free ({}: {})", path, needed_,
                            free_, action, error_text(error)),
                "free some space, keep fewer checkpoints (checkpoint.keep_last), or move the run to a larger disk");
  }

  FileOps& files_;
  const std::string& folder_;
  std::vector<char> buffer_;
  std::int64_t needed_ = 0, free_ = 0;
};

}  // namespace

void write_checkpoint(FileOps& files, const std::string& folder, const CheckpointContent& content) {
  CHECK(content.step >= 0);
  std::vector<PlannedFile> plan = plan_files(content);
  // The checksums are not known yet, but their length is: the manifest's size is exact, and so is the sum.
  const auto manifest_bytes = static_cast<std::int64_t>(manifest_text(content, plan).size());
  plan.push_back({{manifest_name, manifest_bytes, ""}, {}, nullptr, {}});

  Writer writer(files, folder);
  writer.reserve(plan);
  PlannedFile manifest = std::move(plan.back());
  plan.pop_back();
  for (PlannedFile& planned : plan) writer.write(planned);
  manifest.head = manifest_text(content, plan);
  CHECK(static_cast<std::int64_t>(manifest.head.size()) == manifest_bytes);
  writer.write(manifest);
  writer.sync_folder();
}

}  // namespace nll
