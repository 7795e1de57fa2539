// GemmCache: the file that keeps which algorithm was chosen for which matrix product. A JSON object:
//   {"device": "NVIDIA H100 80GB HBM3", "cublaslt": 130100, "products": {"<ProductKey::text>": "<128 hex digits>"}}
// "none" in place of the digits: the library has no algorithm. Choices of another device or another version of the
// library are not used, and go when the file is next written. It is replaced as a whole: a reader sees the old or the
// new one.
#pragma once
#include <cublasLt.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>

namespace nll::cuda {

class GemmCache {
 public:
  using Choice = std::optional<cublasLtMatmulAlgo_t>;  // nothing: the library has no algorithm

  // file "": nothing is read or written. Throws Error(bad_data) where the file is not such a file, Error(io) where it
  // cannot be read; none is there yet: no choices.
  GemmCache(std::string file, std::string device, std::size_t library_version);
  // Null where the file does not know the product.
  const Choice* find(const std::string& product) const;
  // Adds it and writes the file, and the folders it lies in where they are missing. Throws Error(io) that names the
  // file.
  void remember(const std::string& product, const Choice& choice);

 private:
  void read();
  void write() const;

  std::string file_, device_;
  std::size_t version_;
  std::map<std::string, Choice> choices_;
};

}  // namespace nll::cuda
