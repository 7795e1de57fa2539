#include "src/checkpoint/optimizer_moments.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "src/checkpoint/checkpoint_layout.h"
#include "src/checkpoint/quoted.h"

namespace nll {
namespace {

// Of a shape whose elements fit 63 bits; nothing for any other.
std::optional<std::int64_t> elements_of(const std::vector<std::int64_t>& shape) {
  std::int64_t elements = 1;
  for (const std::int64_t dim : shape) {
    if (__builtin_mul_overflow(elements, dim, &elements)) return {};
  }
  return elements;
}

std::string listed(const std::vector<std::string>& problems) {
  constexpr std::size_t most = 10;
  const std::size_t shown = std::min(problems.size(), most);
  const std::vector<std::string> first(problems.begin(), problems.begin() + static_cast<std::ptrdiff_t>(shown));
  const std::string more = problems.size() > most ? fmt::format("; and {} more", problems.size() - most) : "";
  return fmt::format("{}{}", fmt::join(first, "; "), more);
}

}  // namespace

OptimizerMoments::OptimizerMoments(FileOps& files, const std::string& folder, const std::vector<std::string>& names)
    : files_(&files), folder_(folder), names_(names) {
  std::vector<std::string> problems;
  for (std::size_t file = 0; file < names_.size(); ++file) {
    const SafetensorsHeader& header = open(file).header();
    for (const auto& [key, entry] : header.tensors) add(key, entry, file, header.metadata, problems);
  }
  if (problems.empty()) {
    for (auto& [name, slices] : slices_) {
      const std::string problem = coverage_problem(name, slices);
      if (!problem.empty()) problems.push_back(quoted_text(name) + ": " + problem);
    }
  }
  if (!problems.empty()) throw Error(Exit::bad_data, folder_ + ": " + listed(problems));
}

// One tensor of a file: a whole one or a slice.
void OptimizerMoments::add(const std::string& key, const SafetensorsEntry& entry, std::size_t file,
                           const std::map<std::string, std::string>& metadata, std::vector<std::string>& problems) {
  const auto problem = [&](const std::string& what) {
    problems.push_back(fmt::format("{}: tensor {}: {}", names_[file], quoted_text(key), what));
  };
  Slice slice{0, 0, file, key, entry.dtype};
  std::string name = key;
  std::vector<std::int64_t> shape = entry.shape;
  if (const std::size_t at = key.rfind('@'); at != std::string::npos) {
    name = key.substr(0, at);
    const auto parsed = std::from_chars(key.data() + at + 1, key.data() + key.size(), slice.begin);
    const bool number = parsed.ec == std::errc() && parsed.ptr == key.data() + key.size() && slice.begin >= 0;
    if (!number) return problem("no slice (expected a name that ends in @ and the first element)");
    if (entry.shape.size() != 1) {
      return problem(fmt::format("shape ({}) (expected one dimension of a slice)", fmt::join(entry.shape, ", ")));
    }
    const auto text = metadata.find(name);
    if (text == metadata.end()) return problem(fmt::format("__metadata__ has no shape of {}", quoted_text(name)));
    const auto whole = parse_shape(text->second);
    if (!whole || !elements_of(*whole)) {
      return problem(
          fmt::format("__metadata__: {} is no shape (expected \"rows,columns\")", quoted_text(text->second)));
    }
    shape = *whole;
    const std::int64_t elements = *elements_of(shape);
    if (slice.begin > elements || entry.shape[0] > elements - slice.begin) {
      return problem(fmt::format("{} elements from {} on (the whole has {})", entry.shape[0], slice.begin, elements));
    }
    slice.end = slice.begin + entry.shape[0];
  } else {
    slice.end = elements_of(shape).value_or(0);  // its bytes fit the file
  }
  const auto [known, is_new] = shapes_.emplace(name, shape);
  std::vector<Slice>& slices = slices_[name];
  if (!is_new && known->second != shape) {
    return problem(fmt::format("of shape ({}) (in {} it is ({}))", fmt::join(shape, ", "), names_[slices.front().file],
                               fmt::join(known->second, ", ")));
  }
  if (!slices.empty() && slices.front().dtype != slice.dtype) {
    return problem(
        fmt::format("dtype {} (in {} it is {})", slice.dtype, names_[slices.front().file], slices.front().dtype));
  }
  slices.push_back(std::move(slice));
}

// Sorts the slices; what keeps them from covering the whole exactly once, or nothing.
std::string OptimizerMoments::coverage_problem(const std::string& name, std::vector<Slice>& slices) const {
  std::sort(slices.begin(), slices.end(),
            [](const Slice& a, const Slice& b) { return std::pair(a.begin, a.end) < std::pair(b.begin, b.end); });
  std::int64_t covered = 0;
  const Slice* last = nullptr;
  for (const Slice& slice : slices) {
    if (slice.begin > covered) return fmt::format("elements [{}, {}) are in no file", covered, slice.begin);
    if (slice.begin < covered) {
      return fmt::format("elements [{}, {}) are in {} and in {}", slice.begin, std::min(covered, slice.end),
                         names_[last->file], names_[slice.file]);
    }
    covered = slice.end;
    last = &slice;
  }
  const std::int64_t elements = elements_of(shapes_.at(name)).value_or(0);
  return covered == elements ? "" : fmt::format("elements [{}, {}) are in no file", covered, elements);
}

const SafetensorsFile& OptimizerMoments::open(std::size_t file) {
  if (!open_ || open_file_ != file) {
    open_.reset();
    open_.emplace(*files_, folder_ + "/" + names_[file]);
    open_file_ = file;
  }
  return *open_;
}

void OptimizerMoments::read(const std::string& name, std::int64_t begin, Tensor destination) {
  CHECK(destination.rank() == 1);
  CHECK(begin >= 0);
  const auto found = slices_.find(name);
  if (found == slices_.end()) {
    throw Error(Exit::bad_data, fmt::format("{}: tensor {} is missing", folder_, quoted_text(name)));
  }
  const std::int64_t end = begin + destination.size();
  CHECK(end <= *elements_of(shapes_.at(name)));
  for (const Slice& slice : found->second) {
    const std::int64_t from = std::max(begin, slice.begin), to = std::min(end, slice.end);
    if (from >= to) continue;
    open(slice.file).read_elements(slice.key, from - slice.begin, destination.slice(from - begin, to - from));
  }
}

}  // namespace nll
