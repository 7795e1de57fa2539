#include "src/checkpoint/ranks.h"

#include "src/dist/agreement.h"

namespace nll {

std::vector<std::string> TransportRanks::exchange(const std::string& mine, const char* name) {
  return exchange_texts(transport_, mine, {name, -1, -1});
}

void TransportRanks::together(const char* name, const std::function<void()>& work) {
  nll::together(transport_, name, work);
}

}  // namespace nll
