#include "tests/checkpoint/sliced_checkpoint.h"

#include <algorithm>
#include <cstring>
#include <random>

#include "src/checkpoint/file_io.h"

namespace nll::testing {
namespace {

std::int64_t elements_of(const std::vector<std::int64_t>& shape) {
  std::int64_t elements = 1;
  for (const std::int64_t dim : shape) elements *= dim;
  return elements;
}

Tensor view(std::vector<float>& values, const std::vector<std::int64_t>& shape) {
  if (shape.size() == 1) return {values.data(), DType::f32, {shape[0]}};
  return {values.data(), DType::f32, {shape[0], shape[1]}};
}

}  // namespace

void SlicedCheckpoint::describe(std::int64_t step, int variant) {
  shapes_ = {{"wte.weight", {13, 8}}, {"h.0.bias", {7}}, {"h.0.weight", {11, 9}}, {"h.1.scale", {1}}};
  std::mt19937 random(static_cast<std::uint32_t>(step * 1000 + variant));
  for (const char* prefix : {"", "m/", "v/"}) {
    for (const auto& [name, shape] : shapes_) {
      std::vector<float>& values = values_[prefix + name];
      values.resize(static_cast<std::size_t>(elements_of(shape)));
      for (float& value : values) value = static_cast<float>(random()) * 0x1p-31F - 1;
    }
  }
}

// The tensors one after the other, in two buckets; each rank has one part of each.
void SlicedCheckpoint::cut(int ranks) {
  std::int64_t all = 0;
  for (const auto& [name, shape] : shapes_) all += elements_of(shape);
  const std::int64_t buckets[] = {0, all * 3 / 5, all};
  for (int rank = 0; rank < ranks; ++rank) {
    CheckpointContent& content = contents_[static_cast<std::size_t>(rank)];
    for (const std::string prefix : {"m/", "v/"}) {
      std::int64_t offset = 0;
      for (const auto& [name, shape] : shapes_) {
        const std::int64_t elements = elements_of(shape);
        const Tensor whole(values_.at(prefix + name).data(), DType::f32, {elements});
        if (ranks == 1) content.optimizer.push_back({prefix + name, view(values_.at(prefix + name), shape)});
        for (int bucket = 0; bucket < 2 && ranks > 1; ++bucket) {
          const std::int64_t size = buckets[bucket + 1] - buckets[bucket];
          const std::int64_t begin = std::max(offset, buckets[bucket] + size * rank / ranks) - offset;
          const std::int64_t end = std::min(offset + elements, buckets[bucket] + size * (rank + 1) / ranks) - offset;
          if (begin >= end) continue;
          content.optimizer.push_back(
              {prefix + name + "@" + std::to_string(begin), whole.slice(begin, end - begin), shape});
        }
        offset += elements;
      }
    }
  }
}

SlicedCheckpoint::SlicedCheckpoint(std::int64_t step, int ranks, int variant)
    : contents_(static_cast<std::size_t>(ranks)) {
  describe(step, variant);
  cut(ranks);
  for (CheckpointContent& content : contents_) content.step = step;
  CheckpointContent& first = contents_.front();
  for (const auto& [name, shape] : shapes_) first.weights.push_back({name, view(values_.at(name), shape)});
  first.texts = {{"config.json", "{}"}, {"state.json", "{\"variant\": " + std::to_string(variant) + "}"}};
  first.manifest = {{"build", "test"}};
}

SlicedCheckpoint::SlicedCheckpoint(FileOps& files, const std::string& folder, int ranks, int variant)
    : SlicedCheckpoint(CheckpointFolder(files, folder).step(), ranks, variant) {
  for (auto& [name, values] : values_) {
    if (name[1] == '/') std::fill(values.begin(), values.end(), -7.0F);
  }
  for (const CheckpointContent& content : contents_) {
    OptimizerMoments moments = CheckpointFolder(files, folder).optimizer();
    for (const NamedTensor& named : content.optimizer) {
      const std::size_t at = named.name.find('@');
      const std::int64_t begin = at == std::string::npos ? 0 : std::stoll(named.name.substr(at + 1));
      moments.read(named.name.substr(0, at), begin, {named.tensor.data(), DType::f32, {named.tensor.size()}});
    }
  }
}

std::string SlicedCheckpoint::difference(FileOps& files, const std::string& folder) const {
  try {
    const CheckpointFolder opened(files, folder);
    if (opened.step() != contents_.front().step) return "step " + std::to_string(opened.step());
    for (const auto& [name, text] : contents_.front().texts) {
      if (opened.text(name) != text) return name;
    }
    const SafetensorsFile weights = opened.weights();
    OptimizerMoments moments = opened.optimizer();
    if (moments.shapes().size() != 2 * shapes_.size()) return "number of moments";
    for (const auto& [name, values] : values_) {
      std::vector<float> read(values.size());
      const auto elements = static_cast<std::int64_t>(read.size());
      if (name[1] == '/') {
        if (moments.shapes().at(name) != shapes_.at(name.substr(2))) return "shape of " + name;
        moments.read(name, 0, {read.data(), DType::f32, {elements}});
      } else {
        weights.read(name, view(read, shapes_.at(name)));
      }
      if (std::memcmp(read.data(), values.data(), read.size() * sizeof(float)) != 0) return name;
    }
    return "";
  } catch (const Error& error) {
    return error.what();
  }
}

std::map<std::string, std::string> files_of(FileOps& files, const std::string& folder) {
  std::vector<std::string> names;
  files.list(folder, names);
  std::map<std::string, std::string> contents;
  for (const std::string& name : names) {
    contents[name] = read_whole_file(files, folder + "/" + name, std::int64_t{1} << 30, Exit::io);
  }
  return contents;
}

}  // namespace nll::testing
