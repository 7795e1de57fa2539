// Agreement of all ranks outside the training loop: texts are exchanged, and a failure on one rank is a failure on all.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "src/dist/transport.h"

namespace nll {

// An Error that all ranks throw together: nobody waits for this rank, and one of them prints it.
class AgreedError : public Error {
 public:
  using Error::Error;
};

// "rank 3 node1", or nothing for a job of one rank.
std::string rank_name(const World& world);

// Everybody's text in the order of ranks.
std::vector<std::string> exchange_texts(Transport& transport, const std::string& mine, const Operation& operation);

// Runs `work` on every rank. Where it threw an Error on any rank all throw that of the lowest such rank, as an
// AgreedError; with its name in front unless all ranks failed alike.
void together(Transport& transport, const char* name, const std::function<void()>& work);

// Throws an AgreedError that names the ranks whose `mine` is not what most ranks have. `what`: "config", "data", ...
void require_same(Transport& transport, const std::string& what, const std::string& mine);

}  // namespace nll
