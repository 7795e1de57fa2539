// The allocations of the pretended GPU: each a block of the host's heap, so that AddressSanitizer sees its ends, filled
// with NaNs, so that a value that nobody wrote shows.
#pragma once
#include <cstddef>
#include <map>

namespace nll::cuda_on_host {

enum class Place { device, pinned };

class Memory {
 public:
  // Null where the system has no more.
  void* allocate(std::size_t bytes, Place place);
  bool release(void* memory, Place place);  // false: not the beginning of such a block
  // Whether [memory, memory + bytes) lies within one block of that place.
  bool holds(const void* memory, std::size_t bytes, Place place) const;
  bool touches(const void* memory, Place place) const { return holds(memory, 1, place); }
  std::size_t bytes(Place place) const { return totals_[static_cast<int>(place)]; }
  int blocks(Place place) const;

 private:
  struct Block {
    std::size_t bytes;
    Place place;
  };
  std::map<const unsigned char*, Block> blocks_;
  std::size_t totals_[2] = {0, 0};
};
Memory& memory();

}  // namespace nll::cuda_on_host
