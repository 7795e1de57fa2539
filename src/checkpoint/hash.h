// Checksums of checkpoint files: XXH3, fast enough (above 10 GB/s) to be checked at every load.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

struct XXH3_state_s;

namespace nll {

// XXH3-128 of a stream of bytes.
class Hash128 {
 public:
  Hash128();
  void update(const void* data, std::int64_t bytes);
  std::string digest() const;  // 32 hex digits, as `xxhsum -H2` prints them

 private:
  struct Free {
    void operator()(XXH3_state_s* state) const;
  };
  std::unique_ptr<XXH3_state_s, Free> state_;
};

std::string hash_64(std::string_view bytes);  // XXH3-64: 16 hex digits, as `xxhsum -H3` prints them

}  // namespace nll
