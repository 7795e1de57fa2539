#include "src/train/moments.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "src/train/host_copy.h"

namespace nll {

namespace {

// Calls with (begin, end, moment): elements [begin, end) of a parameter that lie from `moment` on in the moments.
template <class Call>
void for_each_part(const ParameterSpec& spec, const std::vector<OwnedSpan>& spans, const Call& call) {
  for (const OwnedSpan& span : spans) {
    const std::int64_t begin = std::max(span.begin, spec.offset), end = std::min(span.end, spec.offset + spec.size());
    if (begin < end) call(begin - spec.offset, end - spec.offset, span.offset + begin - span.begin);
  }
}

void check_moments(const OptimizerMoments& moments, const std::string& place, const ParameterTable& table) {
  std::vector<std::string> problems;
  std::set<std::string> used;
  for (const char* moment : {"m/", "v/"}) {
    for (const ParameterSpec& spec : table.specs()) {
      const std::string name = moment + spec.name;
      used.insert(name);
      const auto found = moments.shapes().find(name);
      if (found == moments.shapes().end()) {
        problems.push_back(name + " is missing");
      } else if (found->second != spec.published_shape()) {
        problems.push_back(fmt::format("{} has shape ({}), expected ({})", name, fmt::join(found->second, ", "),
                                       fmt::join(spec.published_shape(), ", ")));
      }
    }
  }
  for (const auto& [name, shape] : moments.shapes()) {
    if (!used.contains(name)) problems.push_back(name + " is not part of this model");
  }
  if (problems.empty()) return;
  constexpr std::size_t most = 10;
  std::string text = place + ": optimizer: " + problems.front();
  for (std::size_t i = 1; i < std::min(problems.size(), most); ++i) text += ", " + problems[i];
  if (problems.size() > most) text += fmt::format(" and {} more", problems.size() - most);
  throw Error(Exit::bad_data, text);
}

}  // namespace

void load_moments(const CheckpointFolder& folder, const std::string& place, const ParameterTable& table, Device& device,
                  Tensor first, Tensor second, const std::vector<OwnedSpan>& spans, const ParameterProgress& progress) {
  OptimizerMoments moments = folder.optimizer();
  check_moments(moments, place, table);
  std::vector<float> values;
  std::vector<std::uint16_t> halves;
  std::int64_t done = 0;
  for (const auto& kind : {std::pair{"m/", first}, std::pair{"v/", second}}) {
    const std::string moment = kind.first;
    const Tensor arena = kind.second;
    for (const ParameterSpec& spec : table.specs()) {
      for_each_part(spec, spans, [&](std::int64_t begin, std::int64_t end, std::int64_t at) {
        const std::int64_t elements = end - begin;
        values.resize(static_cast<std::size_t>(elements));
        moments.read(moment + spec.name, begin, {values.data(), DType::f32, {elements}});
        if (arena.type() == DType::bf16) {
          halves.resize(values.size());
          std::transform(values.begin(), values.end(), halves.begin(), rounded);
          device.upload(arena.slice(at, elements), halves.data());
        } else {
          device.upload(arena.slice(at, elements), values.data());
        }
        device.synchronize();  // the host's copy is reused
        done += elements;
        if (progress) progress(done, 2 * elements_of(spans));
      });
    }
  }
  if (progress) progress(2 * elements_of(spans), 2 * elements_of(spans));
}

std::vector<NamedTensor> moment_slices(const ParameterTable& table, Device& device, Tensor first, Tensor second,
                                       const std::vector<OwnedSpan>& spans, std::vector<Buffer>& staging) {
  std::vector<NamedTensor> slices;
  const bool readable = device.info().kind == "cpu";
  const bool whole = spans.size() == 1 && spans.front().begin == 0 && spans.front().end == table.stored_elements();
  for (const auto& kind : {std::pair{"m/", first}, std::pair{"v/", second}}) {
    const std::string moment = kind.first;
    const Tensor arena = kind.second;
    for (const ParameterSpec& spec : table.specs()) {
      for_each_part(spec, spans, [&](std::int64_t begin, std::int64_t end, std::int64_t at) {
        const std::int64_t elements = end - begin;
        Tensor values = arena.slice(at, elements);
        if (!readable) {
          staging.push_back(host_buffer(checked_product(elements, 4)));
          const Tensor copy = staging.back().tensor(0, DType::f32, {elements});
          if (values.type() == DType::bf16) {
            std::vector<std::uint16_t> halves(static_cast<std::size_t>(elements));
            device.download(halves.data(), values);
            std::transform(halves.begin(), halves.end(), copy.as<float>(), widened);
          } else {
            device.download(copy.data(), values);
          }
          values = copy;
        }
        if (!whole) {
          slices.push_back({fmt::format("{}{}@{}", moment, spec.name, begin), values, spec.published_shape()});
        } else {
          slices.push_back({moment + spec.name, spec.vector ? values : values.reshape({spec.rows, spec.columns})});
        }
      });
    }
  }
  return slices;
}

}  // namespace nll
