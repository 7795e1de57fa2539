#include "src/train/checkpoint_texts.h"

#include <nlohmann/json.hpp>

#include "src/train/model_folder.h"

namespace nll {

std::map<std::string, std::string> checkpoint_texts(const Config& config, const TrainingState& state,
                                                    const Tokenizer* tokenizer) {
  const std::int32_t end_of_text = tokenizer != nullptr ? tokenizer->end_of_text() : -1;
  std::map<std::string, std::string> texts{
      {"config.json", published_config(config.model, config.head, end_of_text,
                                       config.objective.kind == "reward" ? PublishedKind::reward_model
                                                                         : PublishedKind::language_model)},
      {run_config_name, dump_config(config)},
      {state_name, state.json()}};
  if (tokenizer != nullptr) {
    texts["tokenizer.json"] = tokenizer->json();
    nlohmann::ordered_json settings = {{"tokenizer_class", "PreTrainedTokenizerFast"},
                                       {"model_max_length", config.model.context}};
    if (end_of_text >= 0) {
      // Special tokens have no bytes; their text is the one every GPT-2 tokenizer uses.
      for (const char* role : {"bos_token", "eos_token", "unk_token"}) settings[role] = "<|endoftext|>";
    }
    texts["tokenizer_config.json"] = settings.dump(2) + "\n";
  }
  return texts;
}

}  // namespace nll
