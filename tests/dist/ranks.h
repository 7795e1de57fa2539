// Ranks of a test: each works on a thread of its own, and what became of it is told afterwards.
#pragma once
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "src/dist/agreement.h"
#include "src/dist/threads.h"

namespace nll::test {

struct Outcome {
  Exit exit = Exit::done;
  std::string message, hint;
  bool agreed = false;  // an AgreedError
};

using Transports = std::vector<std::shared_ptr<Transport>>;

// Calls work(rank, transport) for all ranks at the same time. A rank that throws ends the job, as main() does.
inline std::vector<Outcome> run_ranks(const Transports& transports,
                                      const std::function<void(int, std::shared_ptr<Transport>)>& work) {
  std::vector<Outcome> outcomes(transports.size());
  std::vector<std::thread> threads;
  for (std::size_t r = 0; r < transports.size(); ++r) {
    threads.emplace_back([&, r] {
      try {
        work(static_cast<int>(r), transports[r]);
      } catch (const Error& error) {
        outcomes[r] = {error.exit(), error.what(), error.hint(), dynamic_cast<const AgreedError*>(&error) != nullptr};
        transports[r]->abort(error.exit());
      } catch (const std::exception& error) {
        ADD_FAILURE() << "rank " << r << ": " << error.what();
        transports[r]->abort(Exit::internal);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  return outcomes;
}

inline void expect_all_done(const std::vector<Outcome>& outcomes) {
  for (std::size_t r = 0; r < outcomes.size(); ++r) {
    EXPECT_EQ(outcomes[r].exit, Exit::done) << "rank " << r << ": " << outcomes[r].message;
  }
}

inline bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace nll::test
