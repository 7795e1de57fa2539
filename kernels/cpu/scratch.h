// Scratch: working memory of the ops, one piece a thread and one shared. It grows to the largest request and stays.
#pragma once
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <vector>

namespace nll::cpu {

class Scratch {
 public:
  explicit Scratch(int threads) : pieces_(static_cast<std::size_t>(threads)) {}

  // `bytes` of thread `thread`, aligned to 64; the content is undefined. Only that thread may ask for them.
  // An earlier piece of the same thread is gone.
  void* of_thread(int thread, std::int64_t bytes) { return pieces_[static_cast<std::size_t>(thread)].grow(bytes); }
  // `bytes` for all threads; asked for outside ThreadTeam::run. An earlier shared piece is gone.
  void* shared(std::int64_t bytes) { return shared_.grow(bytes); }

  float* floats(int thread, std::int64_t count) { return static_cast<float*>(of_thread(thread, count * 4)); }

 private:
  struct Free {
    void operator()(void* memory) const { std::free(memory); }
  };
  struct alignas(64) Piece {
    std::unique_ptr<void, Free> memory;
    std::int64_t bytes = 0;
    void* grow(std::int64_t wanted);
  };
  std::vector<Piece> pieces_;
  Piece shared_;
};

}  // namespace nll::cpu
