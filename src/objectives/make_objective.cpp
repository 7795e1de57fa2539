#include <algorithm>

#include "kernels/check.h"
#include "src/objectives/objective.h"

namespace nll {

// One function an objective.
using Make = std::unique_ptr<Objective>(const ObjectiveSettings&);
Make make_language, make_sft;
Make make_dpo, make_simpo, make_cpo, make_orpo, make_kto;
Make make_contrastive, make_reward;
Make make_reinforce, make_mixer, make_ppo, make_grpo, make_gspo, make_cispo, make_rloo;

namespace {

struct Row {
  const char* kind;
  Make* make;
};

// THE TABLE: one row an objective.
constexpr Row table[] = {
    {"language", make_language}, {"sft", make_sft},
    {"dpo", make_dpo},           {"simpo", make_simpo},
    {"cpo", make_cpo},           {"orpo", make_orpo},
    {"kto", make_kto},           {"contrastive", make_contrastive},
    {"reward", make_reward},     {"reinforce", make_reinforce},
    {"mixer", make_mixer},       {"ppo", make_ppo},
    {"grpo", make_grpo},         {"gspo", make_gspo},
    {"cispo", make_cispo},       {"rloo", make_rloo},
};

}  // namespace

std::unique_ptr<Objective> make_objective(const ObjectiveSettings& settings) {
  for (const Row& row : table) {
    if (settings.kind == row.kind) return row.make(settings);
  }
  std::string kinds;
  for (const Row& row : table) kinds += (kinds.empty() ? "" : ", ") + std::string(row.kind);
  throw Error(Exit::usage, "objective.kind: unknown objective \"" + settings.kind + "\" (" + kinds + ")");
}

std::unique_ptr<Objective> make_objective(const ObjectiveConfig& objective, const RolloutConfig& rollout) {
  return make_objective(objective_settings(objective, rollout));
}

std::vector<std::string> objective_kinds() {
  std::vector<std::string> kinds;
  for (const Row& row : table) kinds.emplace_back(row.kind);
  return kinds;
}

}  // namespace nll
