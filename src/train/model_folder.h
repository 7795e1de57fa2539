// Models as folders: a checkpoint of ours or any Hugging Face GPT-2 folder becomes weights and a tokenizer, and the
// config.json of the folders we write.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "kernels/device.h"
#include "src/checkpoint/checkpoint.h"
#include "src/config/config.h"
#include "src/model/numerics.h"
#include "src/model/parameters.h"
#include "src/text/tokenizer.h"

namespace nll {

// What a Hugging Face config.json says of a GPT-2 model. Throws Error(bad_data) for another architecture or for a
// variant this model is not (activation, inner width, epsilon, attention scaling, an untied head).
struct PublishedModel {
  ModelConfig model;
  HeadConfig head;
};
PublishedModel parse_published_config(const std::string& json, const std::string& place);
// How Hugging Face is to open the folder: as GPT2LMHeadModel, or as GPT2ForSequenceClassification with one label, whose
// logit is the reward of the last token (of one text at a time: it would need a padding token for more).
enum class PublishedKind { language_model, reward_model };
std::string published_config(const ModelConfig& model, const HeadConfig& head, std::int32_t end_of_text,
                             PublishedKind kind = PublishedKind::language_model);

// Whether the folder stores a scalar head (score.weight). Reads headers only.
bool has_scalar_head(const CheckpointFolder& folder);

// Throws Error(bad_data) unless the folder holds exactly the tensors of `table`, as load_weights needs them: a scalar
// head may be missing from the folder or from the table. Reads headers only.
void check_weights(const CheckpointFolder& folder, const std::string& place, const ParameterTable& table);

// Reads the weights of a folder into an arena of `table`. Names with or without "transformer."; a stored lm_head must
// equal the embedding; stored mask buffers, and a scalar head that the table has not, are ignored; one that the folder
// has not becomes 0; FP16 and BF16 are widened. Missing, unknown or misshapen tensors are Error(bad_data) that lists up
// to ten of them.
void load_weights(const CheckpointFolder& folder, const std::string& place, const ParameterTable& table, Device& device,
                  Tensor arena, const ParameterProgress& progress = {});

// The published tensors of an arena under `prefix` + name, FP32, for saving. Staging holds host copies for a device
// whose memory the host cannot read.
std::vector<NamedTensor> named_tensors(const ParameterTable& table, Device& device, Tensor arena,
                                       const std::string& prefix, std::vector<Buffer>& staging);

// A model opened for reading: evaluating and sampling.
struct OpenModel {
  std::string folder;
  PublishedModel published;
  ParameterTable table;
  Numerics numerics;
  Buffer storage, rounded_storage;
  GptTensors weights;  // rounded where numerics says so; with `score` where the folder stores a scalar head
  std::optional<Tokenizer> tokenizer;
};
// RUN, checkpoint or Hugging Face folder. `tokenizer` is read from the folder when it has one.
OpenModel open_model(FileOps& files, const std::string& path, Backend& backend, const PrecisionConfig& precision,
                     const std::function<void(const std::string& folder, const std::string& why)>& refused,
                     const ParameterProgress& progress = {});

}  // namespace nll
