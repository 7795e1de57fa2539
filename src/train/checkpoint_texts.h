// The text files of a checkpoint: Hugging Face's config.json and tokenizer files beside our run config and state.
#pragma once
#include <map>
#include <string>

#include "src/config/config.h"
#include "src/text/tokenizer.h"
#include "src/train/state.h"

namespace nll {

inline constexpr const char* run_config_name = "run_config.json";
inline constexpr const char* state_name = "state.json";
inline constexpr const char* source_state_name = "rollout.json";  // StepSource::state(), where there is one

// File name -> content. `tokenizer` may be null.
std::map<std::string, std::string> checkpoint_texts(const Config& config, const TrainingState& state,
                                                    const Tokenizer* tokenizer);

}  // namespace nll
