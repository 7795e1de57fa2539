// Saving by the ranks of a training run. Apart from the rest of the room, which needs neither a device nor ops.
#include "src/checkpoint/checkpoint.h"
#include "src/checkpoint/ranks.h"
#include "src/dist/collective.h"

namespace nll {
namespace {

class CollectiveRanks final : public Ranks {
 public:
  explicit CollectiveRanks(Collective& collective) : collective_(collective) {}
  const World& world() const override { return collective_.world(); }
  std::vector<std::string> exchange(const std::string& mine, const char* name) override {
    return collective_.exchange(mine, name);
  }
  void together(const char* name, const std::function<void()>& work) override { collective_.together(name, work); }

 private:
  Collective& collective_;
};

}  // namespace

std::string CheckpointStore::save(const CheckpointContent& content, Collective& collective) {
  CollectiveRanks ranks(collective);
  return save(content, ranks);
}

}  // namespace nll
