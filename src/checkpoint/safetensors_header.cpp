// The header of a safetensors file: a JSON object {"name": {"dtype", "shape", "data_offsets": [begin, end]}, ...,
// "__metadata__": {string: string}}. It is read as a stream of events, so that what a hostile header can make us hold
// is bounded by a small multiple of its own size, and checked rule by rule.
#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <string_view>

#include "src/checkpoint/quoted.h"
#include "src/checkpoint/safetensors.h"

namespace nll {
namespace {

struct KnownType {
  std::string_view name;
  std::int64_t bytes;
  bool readable;
  DType type;
};
constexpr KnownType known_types[] = {
    {"F64", 8, true, DType::f64},   {"F32", 4, true, DType::f32},  {"F16", 2, true, DType::f16},
    {"BF16", 2, true, DType::bf16}, {"I32", 4, true, DType::i32},  {"U8", 1, true, DType::u8},
    {"I64", 8, false, DType::f32},  {"I16", 2, false, DType::f32}, {"I8", 1, false, DType::f32},
    {"BOOL", 1, false, DType::f32}, {"U64", 8, false, DType::f32}, {"U32", 4, false, DType::f32},
    {"U16", 2, false, DType::f32},
};
constexpr std::string_view known_type_names = "F64 F32 F16 BF16 I64 I32 I16 I8 U64 U32 U16 U8 BOOL";
constexpr std::size_t max_rank = 32;

const KnownType* find_type(std::string_view name) {
  const auto* found = std::find_if(std::begin(known_types), std::end(known_types),
                                   [&](const KnownType& known) { return known.name == name; });
  return found == std::end(known_types) ? nullptr : found;
}

// Receives the events of nlohmann's SAX parser and fills a SafetensorsHeader; throws at the first broken rule.
class HeaderEvents {
 public:
  HeaderEvents(SafetensorsHeader& header, const std::string& place) : header_(header), place_(place) {}

  bool null() { return scalar("null"); }
  bool boolean(bool value) { return scalar(value ? "true" : "false"); }
  bool number_integer(std::int64_t value) { return number(fmt::format("{}", value), value); }
  bool number_unsigned(std::uint64_t value) {
    const bool fits = value <= static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
    return number(fmt::format("{}", value), fits ? static_cast<std::int64_t>(value) : -1);
  }
  bool number_float(double, const std::string& text) { return number(text, -1); }
  bool string(const std::string& value) {
    if (level_ == Level::metadata) {
      header_.metadata[key_] = value;
      return true;
    }
    if (level_ != Level::tensor || field_ != "dtype") return scalar("string " + quoted_text(value));
    const KnownType* known = find_type(value);
    if (known == nullptr) fail(fmt::format("dtype: {} (expected one of {})", quoted_text(value), known_type_names));
    entry_.dtype = value;
    entry_.type = known->type;
    entry_.readable = known->readable;
    return true;
  }
  bool binary(const nlohmann::json::binary_t&) { return scalar("binary"); }

  bool start_object(std::size_t) {
    if (level_ == Level::document) {
      level_ = Level::root;
    } else if (level_ == Level::root) {
      level_ = key_ == "__metadata__" ? Level::metadata : Level::tensor;
      entry_ = SafetensorsEntry{};
      seen_dtype_ = seen_shape_ = seen_offsets_ = false;
    } else {
      return scalar("an object");
    }
    return true;
  }

  bool key(const std::string& text) {
    if (level_ == Level::root) {
      key_ = text;
      if (header_.tensors.contains(text) || (text == "__metadata__" && seen_metadata_)) fail("appears twice");
      if (text == "__metadata__") seen_metadata_ = true;
    } else if (level_ == Level::metadata) {
      key_ = text;
      if (header_.metadata.contains(text)) fail("appears twice");
    } else {
      bool* seen = text == "dtype"          ? &seen_dtype_
                   : text == "shape"        ? &seen_shape_
                   : text == "data_offsets" ? &seen_offsets_
                                            : nullptr;
      if (seen == nullptr)
        fail(fmt::format("unknown field {} (expected dtype, shape, data_offsets)", quoted_text(text)));
      if (*seen) fail(fmt::format("field {} appears twice", text));
      *seen = true;
      field_ = text;
    }
    return true;
  }

  bool end_object() {
    if (level_ == Level::tensor) {
      for (const auto& [seen, field] : {std::pair{seen_dtype_, "dtype"}, std::pair{seen_shape_, "shape"},
                                        std::pair{seen_offsets_, "data_offsets"}}) {
        if (!seen) fail(fmt::format("field {} is missing", field));
      }
      check_size();
      header_.tensors.emplace(key_, std::move(entry_));
    }
    level_ = level_ == Level::root ? Level::document : Level::root;
    return true;
  }

  bool start_array(std::size_t) {
    if (level_ != Level::tensor || field_ == "dtype") return scalar("a list");
    level_ = Level::numbers;
    numbers_.clear();
    return true;
  }

  bool end_array() {
    level_ = Level::tensor;
    if (field_ == "shape") {
      entry_.shape = numbers_;
      return true;
    }
    if (numbers_.size() != 2) fail(fmt::format("data_offsets: a list of {} (expected [begin, end])", numbers_.size()));
    entry_.begin = numbers_[0];
    entry_.end = numbers_[1];
    if (entry_.begin > entry_.end) {
      fail(fmt::format("data_offsets: [{}, {}] (expected begin <= end)", entry_.begin, entry_.end));
    }
    return true;
  }

  bool parse_error(std::size_t position, const std::string&, const nlohmann::json::exception&) {
    throw Error(Exit::bad_data, fmt::format("{}: header: not valid JSON at byte {}", place_, position));
  }

 private:
  enum class Level { document, root, metadata, tensor, numbers };

  [[noreturn]] void fail(const std::string& what) const {
    const std::string where = level_ == Level::root && key_ == "__metadata__" ? "__metadata__"
                              : level_ == Level::metadata                     ? "__metadata__: key " + quoted_text(key_)
                                                                              : "tensor " + quoted_text(key_);
    throw Error(Exit::bad_data, fmt::format("{}: {}: {}", place_, where, what));
  }

  // A value where another kind was expected.
  bool scalar(const std::string& found) const {
    switch (level_) {
      case Level::document:
        throw Error(Exit::bad_data, fmt::format("{}: header: {} (expected a JSON object)", place_, found));
      case Level::root:
        fail(found + " (expected an object)");
      case Level::metadata:
        fail(found + " (expected a string)");
      case Level::tensor:
        fail(fmt::format("{}: {} (expected {})", field_, found,
                         field_ == "dtype" ? "a string" : "a list of whole numbers"));
      case Level::numbers:
        fail(fmt::format("{}[{}]: {} (expected a whole number from 0 to 2^63-1)", field_, numbers_.size(), found));
    }
    return false;
  }

  bool number(const std::string& text, std::int64_t value) {
    if (level_ != Level::numbers || value < 0) return scalar(text);
    const std::size_t most = field_ == "shape" ? max_rank : 2;
    if (numbers_.size() == most) {
      fail(fmt::format("{}: more than {} numbers", field_, most));
    }
    numbers_.push_back(value);
    return true;
  }

  void check_size() const {
    std::int64_t bytes = find_type(entry_.dtype)->bytes;
    for (const std::int64_t dim : entry_.shape) {
      if (__builtin_mul_overflow(bytes, dim, &bytes)) fail("shape: the size in bytes does not fit 63 bits");
    }
    if (entry_.end - entry_.begin != bytes) {
      fail(fmt::format("data_offsets: [{}, {}] hold {} bytes (expected {} for {} of shape [{}])", entry_.begin,
                       entry_.end, entry_.end - entry_.begin, bytes, entry_.dtype, fmt::join(entry_.shape, ", ")));
    }
  }

  SafetensorsHeader& header_;
  const std::string& place_;
  Level level_ = Level::document;
  std::string key_, field_;
  SafetensorsEntry entry_;
  std::vector<std::int64_t> numbers_;
  bool seen_dtype_ = false, seen_shape_ = false, seen_offsets_ = false, seen_metadata_ = false;
};

// The tensors must cover the data bytes exactly: no hole, no overlap, nothing after the last.
void check_layout(const SafetensorsHeader& header, std::int64_t data_bytes, const std::string& place) {
  std::vector<const std::pair<const std::string, SafetensorsEntry>*> order;
  order.reserve(header.tensors.size());
  for (const auto& tensor : header.tensors) order.push_back(&tensor);
  std::sort(order.begin(), order.end(), [](const auto* a, const auto* b) {
    return std::pair(a->second.begin, a->second.end) < std::pair(b->second.begin, b->second.end);
  });
  std::int64_t covered = 0;
  for (const auto* tensor : order) {
    const SafetensorsEntry& entry = tensor->second;
    const auto fail = [&](const std::string& what) {
      throw Error(Exit::bad_data, fmt::format("{}: tensor {}: data_offsets: [{}, {}] {}", place,
                                              quoted_text(tensor->first), entry.begin, entry.end, what));
    };
    if (entry.end > data_bytes) fail(fmt::format("end beyond the file's {} data bytes", data_bytes));
    if (entry.begin < covered) fail(fmt::format("overlap the tensor before (expected begin {})", covered));
    if (entry.begin > covered) fail(fmt::format("leave a hole (expected begin {})", covered));
    covered = entry.end;
  }
  if (covered != data_bytes) {
    throw Error(Exit::bad_data,
                fmt::format("{}: bytes after the last tensor: {} (expected none)", place, data_bytes - covered));
  }
}

std::string_view type_name(DType type) {
  for (const KnownType& known : known_types) {
    if (known.readable && known.type == type) return known.name;
  }
  return {};
}

std::string json_string(const std::string& text) {
  CHECK(first_invalid_utf8(text) == -1);
  return nlohmann::json(text).dump();
}

}  // namespace

SafetensorsHeader parse_safetensors_header(std::string_view header, std::int64_t file_bytes, const std::string& place) {
  const std::int64_t bad_byte = first_invalid_utf8(header);
  if (bad_byte >= 0) throw Error(Exit::bad_data, fmt::format("{}: header: not UTF-8 at byte {}", place, bad_byte));
  // The parser would skip a byte order mark; the format knows none.
  if (header.starts_with("\xEF\xBB\xBF")) {
    throw Error(Exit::bad_data,
                fmt::format("{}: header: starts with a byte order mark (expected a JSON object)", place));
  }
  SafetensorsHeader parsed;
  parsed.data_offset = 8 + static_cast<std::int64_t>(header.size());
  HeaderEvents events(parsed, place);
  nlohmann::json::sax_parse(header.begin(), header.end(), &events);
  check_layout(parsed, file_bytes - parsed.data_offset, place);
  return parsed;
}

std::string make_safetensors_header(const std::vector<NamedTensor>& tensors,
                                    const std::map<std::string, std::string>& metadata) {
  std::string text = "{";
  if (!metadata.empty()) {
    text += "\"__metadata__\":{";
    for (const auto& [key, value] : metadata) {
      if (text.back() != '{') text += ',';
      text += json_string(key) + ":" + json_string(value);
    }
    text += '}';
  }
  std::int64_t offset = 0;
  for (const auto& [name, tensor, whole] : tensors) {
    CHECK(name != "__metadata__");
    if (text.size() > 1) text += ',';
    text += fmt::format("{}:{{\"dtype\":\"{}\",\"shape\":[", json_string(name), type_name(tensor.type()));
    for (int i = 0; i < tensor.rank(); ++i) text += fmt::format("{}{}", i > 0 ? "," : "", tensor.dim(i));
    text += fmt::format("],\"data_offsets\":[{},{}]}}", offset, offset + tensor.bytes());
    offset += tensor.bytes();
  }
  text += '}';
  text.resize((text.size() + 7) / 8 * 8, ' ');
  return text;
}

}  // namespace nll
