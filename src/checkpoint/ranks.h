// Ranks: what a save asks of the processes of a job. Over one process, a Transport, or a Collective (checkpoint.h).
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "src/dist/transport.h"

namespace nll {

class Ranks {
 public:
  virtual ~Ranks() = default;
  virtual const World& world() const = 0;
  // Everybody's text in the order of ranks.
  virtual std::vector<std::string> exchange(const std::string& mine, const char* name) = 0;
  // Runs `work` on every rank; when it throws an Error on any of them all throw that of the lowest such rank.
  virtual void together(const char* name, const std::function<void()>& work) = 0;
};

// One process: nobody to wait for.
class SoleRank final : public Ranks {
 public:
  const World& world() const override { return world_; }
  std::vector<std::string> exchange(const std::string& mine, const char*) override { return {mine}; }
  void together(const char*, const std::function<void()>& work) override { work(); }

 private:
  World world_;
};

class TransportRanks final : public Ranks {
 public:
  explicit TransportRanks(Transport& transport) : transport_(transport) {}
  const World& world() const override { return transport_.world(); }
  std::vector<std::string> exchange(const std::string& mine, const char* name) override;
  void together(const char* name, const std::function<void()>& work) override;

 private:
  Transport& transport_;
};

}  // namespace nll
