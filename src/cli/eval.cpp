// nll eval: how well a model predicts held-out text.
#include <fmt/format.h>

#include <fstream>

#include "src/cli/eval_against.h"
#include "src/cli/eval_calibration.h"
#include "src/cli/eval_choice.h"
#include "src/cli/eval_generation.h"
#include "src/cli/eval_probe.h"
#include "src/cli/eval_table.h"
#include "src/cli/eval_teacher_forcing.h"
#include "src/cli/eval_texts.h"
#include "src/cli/evaluator.h"
#include "src/cli/verbs.h"
#include "src/train/checkpoint_texts.h"
#include "src/train/model_folder.h"
#include "src/train/trainer.h"

namespace nll {

namespace {

struct EvalOptions {
  std::string model, logits;
  EvalSource source;
  std::int64_t tokens = 0, stride = 0, by_context = 0;
  DeviceOptions device;
  TeacherForcingOptions forcing;
  GenerationOptions generation;
  ChoiceOptions choice;
  ProbeOptions probe;
  CalibrationOptions calibration;
  AgainstOptions against;
  bool by_frequency = false, json = false;
};

// Logits of the first window of a text, for comparing with other programs: tokens (T) and logits (T,V).
void write_logits(const EvalOptions& options, const OpenModel& model, Backend& backend) {
  const ModelConfig& config = model.published.model;
  std::vector<std::int32_t> ids = tokens_of_file(model, options.source.text, 1);
  const std::int64_t T = std::min<std::int64_t>(static_cast<std::int64_t>(ids.size()), config.context),
                     V = config.vocabulary;
  Gpt gpt(config, *backend.ops, *backend.device, 1, T, Pass::inference, model.numerics);
  Head head(config, model.published.head, *backend.ops, *backend.device, T, model.numerics);
  const Buffer tokens = backend.device->allocate(4 * T);
  backend.device->upload(tokens.tensor(0, DType::i32, {1, T}), ids.data());
  const Tensor hidden = gpt.forward(model.weights, tokens.tensor(0, DType::i32, {1, T}));
  const std::int64_t Vp = model.weights.wte.dim(0);
  std::vector<float> row(static_cast<std::size_t>(Vp)), logits;
  for (std::int64_t t = 0; t < T; ++t) {
    backend.device->download(row.data(), head.logits(hidden.slice(t, 1), model.weights.wte));
    logits.insert(logits.end(), row.begin(), row.begin() + V);
  }
  const std::vector<NamedTensor> tensors{{"logits", Tensor(logits.data(), DType::f32, {T, V})},
                                         {"tokens", Tensor(ids.data(), DType::i32, {T})}};
  std::ofstream out(options.logits, std::ios::binary);
  const std::string header = make_safetensors_header(tensors, {});
  const std::uint64_t header_bytes = header.size();  // little-endian, as every machine nll runs on
  out.write(reinterpret_cast<const char*>(&header_bytes), sizeof header_bytes);
  out << header;
  for (const NamedTensor& tensor : tensors)
    out.write(static_cast<const char*>(tensor.tensor.data()), tensor.tensor.bytes());
  out.close();
  if (!out) throw Error(Exit::io, options.logits + ": cannot be written");
}

Exit evaluate_model(const EvalOptions& options, Invocation& invocation) {
  Backend backend = options.device.make(invocation);
  const int threads = backend.device->info().threads;
  const TextReading reading_of{options.source, options.tokens, options.stride};
  if (options.against.asked()) {
    return show_against(options.against, options.model, reading_of, backend, options.device.precision, options.json,
                        invocation);
  }
  const OpenModel model = open_shown(options.model, backend, options.device.precision, invocation.console);
  if (options.choice.path) return show_choice(options.choice, model, backend, options.json, invocation);
  if (!options.logits.empty()) {
    if (options.source.text.empty())
      throw Error(Exit::usage, "--logits: needs the text to compute them for (--text FILE)");
    write_logits(options, model, backend);
    return Exit::done;
  }
  const std::int64_t context = model.published.model.context;
  reading_of.check(context);
  if (options.generation.asked && !options.generation.needs_text())
    return show_generation(options.generation, model, backend, {}, options.json, invocation);
  TemporaryFolder temporary;
  if (options.probe.asked()) {
    const bool with_text = !options.source.data.empty() || !options.source.text.empty();
    const std::vector<EvalText> read =
        with_text ? texts_of(options.source, model, threads, temporary) : std::vector<EvalText>{};
    return show_probe(options.probe, model, backend, read, reading_of, options.json, invocation);
  }
  const std::vector<EvalText> texts = texts_of(options.source, model, threads, temporary);
  if (options.calibration.asked)
    return show_calibration(options.calibration, model, backend, texts, reading_of, options.json, invocation);
  if (options.forcing.asked)
    return show_teacher_forcing(options.forcing, model, backend, texts, options.json, invocation);
  if (options.generation.asked)
    return show_generation(options.generation, model, backend, texts, options.json, invocation);
  std::vector<std::string> training;
  if (options.by_frequency) {
    const Config config = config_of(model, "trained on", "leave out --by-frequency");
    training = find_token_files(config.data.train, "train");
  }
  Evaluator evaluator(model, backend, invocation, options.tokens, options.stride);
  if (!training.empty()) evaluator.count_training(training);
  EvalResults results = evaluator.evaluate_all(texts);
  if (options.by_context > 0) results.by_context = evaluator.by_context(texts, options.by_context);
  const EvalReading reading{model.folder, context, options.stride == 0 ? context : options.stride};
  if (options.json) {
    print(eval_json(reading, results).dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n");
  } else {
    print(eval_table(reading, results));
  }
  return Exit::done;
}

}  // namespace

void add_eval(CLI::App& app, Invocation& invocation) {
  CLI::App* verb = app.add_subcommand("eval", "Measure a model on held-out text");
  auto o = std::make_shared<EvalOptions>();
  verb->add_option("RUN", o->model, "A run, a checkpoint, or a Hugging Face GPT-2 folder")->required();
  CLI::Option* data =
      verb->add_option("--data", o->source.data,
                       "Token shards, a glob or a folder; again for another text; none: the run's own validation text")
          ->allow_extra_args(false);
  verb->add_option("--text", o->source.text, "A text file")->excludes(data);
  verb->add_option("--tokens", o->tokens, "Look at this many tokens of each text at most; 0: all")
      ->capture_default_str()
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{1} << 50));
  verb->add_option("--stride", o->stride,
                   "Let windows slide by this many tokens, so that each is predicted from a longer context; 0: windows "
                   "do not overlap")
      ->capture_default_str()
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{1} << 50));
  verb->add_flag("--by-frequency", o->by_frequency,
                 "Also loss by how often the training text has a token; reads the run's training shards once");
  verb->add_option("--by-context", o->by_context,
                   "Also the loss of so many tokens of the text, each after only the last 1, 2, 4, ... tokens before "
                   "it; 0: none")
      ->capture_default_str()
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{1} << 30));
  verb->add_option("--logits", o->logits,
                   "Write the logits of the first window of --text to this safetensors file, and nothing else");
  o->device.add_to(*verb);
  o->forcing.add_to(*verb);
  o->generation.add_to(*verb);
  o->choice.add_to(*verb);
  o->probe.add_to(*verb);
  o->calibration.add_to(*verb);
  o->against.add_to(*verb);
  verb->add_flag("--json", o->json, "Print JSON");
  verb->callback([&invocation, o] { invocation.run = [&invocation, o] { return evaluate_model(*o, invocation); }; });
}

}  // namespace nll
