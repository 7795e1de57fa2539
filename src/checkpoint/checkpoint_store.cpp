// Publishing and pruning. At any moment, and after any power cut, the folder holds the checkpoints of before or those
// of after a call: a folder is renamed only when all in it is on the disk, and emptied only when its renaming is.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "src/checkpoint/checkpoint.h"
#include "src/checkpoint/checkpoint_layout.h"
#include "src/checkpoint/checkpoint_writer.h"
#include "src/checkpoint/file_io.h"
#include "src/checkpoint/hash.h"

namespace nll {
namespace {

constexpr std::string_view partial_prefix = "tmp.", trash_prefix = "trash.", replaced_prefix = "trash.replaced.";

// Cleans up after a run that was stopped while saving or pruning. Best effort: what stays is tried again next time.
void remove_leftovers(FileOps& files, const std::string& folder) {
  std::vector<std::string> names;
  if (retry_interrupted([&] { return files.list(folder, names); }) < 0) return;
  std::vector<std::string> leftovers;
  for (const std::string& name : names) {
    if (!name.starts_with(partial_prefix) && !name.starts_with(trash_prefix)) continue;
    if (name.starts_with(replaced_prefix)) {
      // Stopped between the two renames of a replacement: the old checkpoint is whole and still the valid one.
      const std::string original = name.substr(replaced_prefix.size());
      if (step_of_folder(original) && !std::binary_search(names.begin(), names.end(), original)) {
        retry_interrupted([&] { return files.rename(folder + "/" + name, folder + "/" + original); });
        continue;
      }
    }
    leftovers.push_back(name);
  }
  // Before anything is emptied, its being renamed must be on the disk.
  if (leftovers.empty() || sync_folder_if_supported(files, folder) < 0) return;
  for (const std::string& name : leftovers) remove_tree(files, folder + "/" + name);
}

// What a rank tells the others before a save.
struct Introduction {
  std::int64_t optimizer_bytes = 0;
  std::string suffix;  // of the name of the folder: rank 0's is the one
  std::string host;
};

std::string introduce(const World& world, std::int64_t optimizer_bytes) {
  // A name that no other run of the program has given, on this host or another: a rank that sees it sees this folder.
  const auto now = std::chrono::system_clock::now().time_since_epoch().count();
  const std::string suffix =
      world.size == 1 ? "" : "." + hash_64(fmt::format("{} {} {}", world.host, now, static_cast<const void*>(&world)));
  return fmt::format("{}\n{}\n{}", optimizer_bytes, suffix, world.host);
}

std::vector<Introduction> introductions(const std::vector<std::string>& texts) {
  std::vector<Introduction> all;
  for (const std::string& text : texts) {
    const std::size_t first = text.find('\n'), second = text.find('\n', first + 1);
    all.push_back(
        {std::stoll(text.substr(0, first)), text.substr(first + 1, second - first - 1), text.substr(second + 1)});
  }
  return all;
}

void require_shared(FileOps& files, const std::string& folder, const std::string& first_host, const std::string& host) {
  std::vector<std::string> names;
  const int listed = retry_interrupted([&] { return files.list(folder, names); });
  if (listed == -ENOENT) {
    throw Error(
        Exit::usage,
        fmt::format("run.directory is not shared between {} and {}: {}: no such folder", first_host, host, folder),
        "put run.directory on a file system that all hosts see under the same path");
  }
  if (listed < 0) throw_file_error(folder, "list", listed);
}

}  // namespace

CheckpointStore::CheckpointStore(FileOps& files, std::string run, Role role)
    : files_(&files), run_(std::move(run)), role_(role) {
  while (run_.size() > 1 && run_.back() == '/') run_.pop_back();
  if (role_ == Role::first) remove_leftovers(*files_, checkpoints_folder(run_));
}

CheckpointStore::CheckpointStore(FileOps& files, std::string run)
    : CheckpointStore(files, std::move(run), Role::first) {}

CheckpointStore CheckpointStore::of_other_rank(FileOps& files, std::string run) {
  return {files, std::move(run), Role::other};
}

std::string CheckpointStore::folder(std::int64_t step) const {
  return checkpoints_folder(run_) + "/" + step_folder_name(step);
}

std::vector<std::int64_t> CheckpointStore::steps() const { return published_steps(*files_, run_); }

std::optional<std::int64_t> CheckpointStore::newest_intact(
    const std::function<void(const std::string& folder, const std::string& why)>& refused) const {
  return newest_intact_step(*files_, run_, refused);
}

// RUN/checkpoints, and once in the life of a store every folder above it on the disk: a checkpoint is no safer than its
// path.
void CheckpointStore::make_checkpoints_folder() {
  const std::string checkpoints = checkpoints_folder(run_);
  const int made = retry_interrupted([&] { return files_->make_folder(checkpoints); });
  if (made < 0 && made != -EEXIST) throw_file_error(checkpoints, "make the folder", made);
  if (folder_is_durable_) return;
  const int synced = sync_folder_if_supported(*files_, run_);
  if (synced < 0) throw_file_error(run_, "fsync the folder", synced);
  for (std::string above = run_; above != "/" && above != ".";) {
    const std::size_t slash = above.rfind('/');
    above = slash == std::string::npos ? "." : slash == 0 ? "/" : above.substr(0, slash);
    const int error = sync_folder_if_supported(*files_, above);
    // Folders above the run may belong to others.
    const bool not_ours = error == -EACCES || error == -EPERM || error == -EROFS || error == -ENOENT;
    if (error < 0 && !not_ours) throw_file_error(above, "fsync the folder", error);
  }
  folder_is_durable_ = true;
}

std::string CheckpointStore::save(const CheckpointContent& content) {
  SoleRank alone;
  return save(content, alone);
}

// Every step is taken by all ranks or by none. What is still missing on one rank is missing in the manifest, and
// without a manifest nothing is published, so that a rank may be lost at any moment.
std::string CheckpointStore::save(const CheckpointContent& content, Ranks& ranks) {
  const World& world = ranks.world();
  const bool first = world.rank == 0;
  CHECK(first == (role_ == Role::first));
  const std::string parent = checkpoints_folder(run_), name = step_folder_name(content.step);
  CheckpointWriter writer(*files_, content, world);
  ranks.together("a look at the checkpoints", [&] {
    if (!first) return;
    make_checkpoints_folder();
    remove_leftovers(*files_, parent);
  });
  const std::vector<Introduction> all =
      introductions(ranks.exchange(introduce(world, writer.optimizer_bytes()), "sizes of a checkpoint"));
  std::vector<std::int64_t> sizes;
  for (const Introduction& one : all) sizes.push_back(one.optimizer_bytes);
  writer.settle(sizes);
  const std::string partial = parent + "/" + std::string(partial_prefix) + name + all.front().suffix;
  bool may_remove = true;
  try {
    ranks.together("the folder of a checkpoint", [&] {
      if (first) writer.reserve(partial);
    });
    ranks.together("room for a checkpoint", [&] {
      if (first) return;
      require_shared(*files_, partial, all.front().host, world.host);
      writer.reserve(partial);
    });
    ranks.together("writing a checkpoint", [&] { writer.write(); });
    // From here on the files belong to rank 0: it may be publishing them while this rank only hears of a lost one.
    may_remove = first;
    const std::vector<std::string> digests = ranks.exchange(writer.optimizer_digest(), "checksums of a checkpoint");
    ranks.together("publishing a checkpoint", [&] {
      if (!first) return;
      writer.write_manifest(digests);
      publish(partial, name);
    });
  } catch (...) {
    if (may_remove) writer.remove();
    if (first) remove_tree(*files_, partial);
    throw;
  }
  return parent + "/" + name;
}

void CheckpointStore::publish(const std::string& partial, const std::string& name) {
  const std::string parent = checkpoints_folder(run_), published = parent + "/" + name;
  const std::string replaced = parent + "/" + std::string(replaced_prefix) + name;
  const int moved = retry_interrupted([&] { return files_->rename(published, replaced); });
  if (moved < 0 && moved != -ENOENT) throw_file_error(published, "move out of the way", moved);
  const int renamed = retry_interrupted([&] { return files_->rename(partial, published); });
  if (renamed < 0) {
    if (moved == 0) retry_interrupted([&] { return files_->rename(replaced, published); });
    throw_file_error(partial, "rename to " + name, renamed);
  }
  if (const int synced = sync_folder_if_supported(*files_, parent); synced < 0) {
    // The new checkpoint is complete, but a power cut may undo the renames: the replaced one stays until that is
    // settled.
    throw_file_error(parent, fmt::format("fsync the folder after publishing {}", name), synced);
  }
  if (moved == 0) remove_tree(*files_, replaced);
}

std::vector<std::string> CheckpointStore::prune(const KeepRules& rules) {
  if (role_ != Role::first) return {};
  const std::string parent = checkpoints_folder(run_);
  std::vector<std::int64_t> published;
  try {
    published = steps();
  } catch (const Error& error) {
    return {error.what()};
  }
  const auto count = static_cast<std::int64_t>(published.size());
  const std::int64_t keep_last = std::clamp<std::int64_t>(rules.keep_last, 1, std::max<std::int64_t>(count, 1));
  std::vector<std::string> failures, trash;
  for (std::int64_t i = 0; i < count - keep_last; ++i) {
    const std::int64_t step = published[static_cast<std::size_t>(i)];
    if (rules.keep_every > 0 && step % rules.keep_every == 0) continue;
    if (rules.best_step == step) continue;
    const std::string away = parent + "/" + std::string(trash_prefix) + step_folder_name(step);
    remove_tree(*files_, away);  // of an earlier prune that failed half way
    const int moved = retry_interrupted([&] { return files_->rename(folder(step), away); });
    if (moved < 0) {
      failures.push_back(fmt::format("{}: cannot move to the trash: {}", folder(step), error_text(moved)));
    } else {
      trash.push_back(away);
    }
  }
  if (trash.empty()) return failures;
  // One fsync for all: after it no power cut can bring back a checkpoint with half of its files.
  if (const int synced = sync_folder_if_supported(*files_, parent); synced < 0) {
    failures.push_back(fmt::format("{}: cannot fsync the folder: {}", parent, error_text(synced)));
    return failures;
  }
  for (const std::string& away : trash) {
    const int removed = remove_tree(*files_, away);
    if (removed < 0) failures.push_back(fmt::format("{}: cannot remove: {}", away, error_text(removed)));
  }
  return failures;
}

}  // namespace nll
