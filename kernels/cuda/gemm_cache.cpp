#include "kernels/cuda/gemm_cache.h"

#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "kernels/check.h"

namespace nll::cuda {
namespace {

using nlohmann::json;

std::string digits_of(const cublasLtMatmulAlgo_t& algorithm) {
  static constexpr char digits[] = "0123456789abcdef";
  unsigned char bytes[sizeof(algorithm)];
  std::memcpy(bytes, &algorithm, sizeof(algorithm));
  std::string text;
  for (const unsigned char byte : bytes) {
    text += digits[byte >> 4];
    text += digits[byte & 15];
  }
  return text;
}

int value_of(char digit) {
  if (digit >= '0' && digit <= '9') return digit - '0';
  if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
  return -1;
}

// Nothing where the text is not what digits_of writes.
std::optional<cublasLtMatmulAlgo_t> algorithm_of(const std::string& text) {
  cublasLtMatmulAlgo_t algorithm;
  unsigned char bytes[sizeof(algorithm)];
  if (text.size() != 2 * sizeof(bytes)) return std::nullopt;
  for (std::size_t i = 0; i < sizeof(bytes); ++i) {
    const int high = value_of(text[2 * i]), low = value_of(text[2 * i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    bytes[i] = static_cast<unsigned char>(16 * high + low);
  }
  std::memcpy(&algorithm, bytes, sizeof(algorithm));
  return algorithm;
}

}  // namespace

GemmCache::GemmCache(std::string file, std::string device, std::size_t library_version)
    : file_(std::move(file)), device_(std::move(device)), version_(library_version) {
  if (!file_.empty()) read();
}

const GemmCache::Choice* GemmCache::find(const std::string& product) const {
  const auto found = choices_.find(product);
  return found == choices_.end() ? nullptr : &found->second;
}

void GemmCache::remember(const std::string& product, const Choice& choice) {
  choices_[product] = choice;
  if (!file_.empty()) write();
}

void GemmCache::read() {
  const auto broken = [&](const std::string& what) {
    return Error(Exit::bad_data, file_ + ": " + what + " (expected a file of chosen matrix products)",
                 "delete the file: the products are timed anew");
  };
  std::error_code ignored;
  if (!std::filesystem::exists(file_, ignored)) return;
  std::ifstream stream(file_, std::ios::binary);
  if (!stream) throw Error(Exit::io, file_ + ": cannot be read", "see that it is a file this user may read");
  const json all = json::parse(stream, nullptr, false);
  if (stream.bad()) throw Error(Exit::io, file_ + ": reading it failed");
  if (all.is_discarded()) throw broken("is not JSON");
  const auto member = [&](const char* name) -> const json& {
    if (!all.is_object() || !all.contains(name)) throw broken("has no \"" + std::string(name) + "\"");
    return all[name];
  };
  const json &device = member("device"), &version = member("cublaslt"), &products = member("products");
  if (!device.is_string()) throw broken("\"device\" is not a text");
  if (!version.is_number_unsigned()) throw broken("\"cublaslt\" is not a version");
  if (!products.is_object()) throw broken("\"products\" is not an object");
  if (device.get<std::string>() != device_ || version.get<std::size_t>() != version_) return;
  for (const auto& [product, choice] : products.items()) {
    const std::string text = choice.is_string() ? choice.get<std::string>() : "";
    const Choice read = text == "none" ? std::nullopt : algorithm_of(text);
    if (!read && text != "none") throw broken("\"" + product + "\" is not 128 hexadecimal digits");
    choices_[product] = read;
  }
}

void GemmCache::write() const {
  json products = json::object();
  for (const auto& [product, choice] : choices_) products[product] = choice ? digits_of(*choice) : "none";
  const json all = {{"device", device_}, {"cublaslt", version_}, {"products", products}};
  const std::string temporary = file_ + ".incomplete-" + std::to_string(getpid());
  std::error_code failure, ignored;
  const std::filesystem::path folder = std::filesystem::path(file_).parent_path();
  if (!folder.empty()) std::filesystem::create_directories(folder, ignored);  // opening the file will tell
  {
    std::ofstream stream(temporary, std::ios::binary | std::ios::trunc);
    stream << all.dump(1, ' ', false, json::error_handler_t::replace) << "\n";
    stream.close();
    if (!stream) failure = std::make_error_code(std::errc::io_error);
  }
  if (!failure) std::filesystem::rename(temporary, file_, failure);
  if (!failure) return;
  std::filesystem::remove(temporary, ignored);
  throw Error(Exit::io, file_ + ": cannot be written (" + failure.message() + ")",
              "name a file in a folder that this user may write to");
}

}  // namespace nll::cuda
