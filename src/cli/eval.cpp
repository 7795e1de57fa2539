// nll eval: how well a model predicts held-out text.
#include <fmt/format.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "src/cli/eval_choice.h"
#include "src/cli/eval_generation.h"
#include "src/cli/eval_table.h"
#include "src/cli/eval_teacher_forcing.h"
#include "src/cli/evaluator.h"
#include "src/cli/verbs.h"
#include "src/train/checkpoint_texts.h"
#include "src/train/model_folder.h"
#include "src/train/trainer.h"

namespace nll {

namespace {

namespace fs = std::filesystem;

struct EvalOptions {
  std::string model, text, logits;
  std::vector<std::string> data;
  std::int64_t tokens = 0, stride = 0;
  DeviceOptions device;
  TeacherForcingOptions forcing;
  GenerationOptions generation;
  ChoiceOptions choice;
  bool by_frequency = false, json = false;
};

// A folder that is removed with what is in it.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = (fs::temp_directory_path() / "nll-eval-XXXXXX").string();
    if (mkdtemp(pattern.data()) == nullptr) throw Error(Exit::io, pattern + ": cannot be made");
    path_ = pattern;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

std::string read_text(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::string text((std::istreambuf_iterator<char>(in)), {});
  if (!in) throw Error(Exit::bad_data, path + ": cannot be read");
  if (text.empty()) throw Error(Exit::bad_data, path + ": is empty");
  return text;
}

const Tokenizer& tokenizer_of(const OpenModel& model) {
  if (!model.tokenizer)
    throw Error(Exit::bad_data, model.folder + ": has no tokenizer; evaluate token shards instead (--data)");
  return *model.tokenizer;
}

// A text as one document: end-of-text, then its tokens.
std::vector<std::int32_t> tokens_of(const OpenModel& model, const std::string& text, int threads) {
  std::vector<std::int32_t> tokens;
  if (tokenizer_of(model).end_of_text() >= 0) tokens.push_back(model.tokenizer->end_of_text());
  const std::vector<std::int32_t> body = model.tokenizer->encode(text, threads);
  tokens.insert(tokens.end(), body.begin(), body.end());
  return tokens;
}

// What the run was trained with; `without`: how to do without it.
Config config_of(const OpenModel& model, const std::string& what, const std::string& without) {
  const CheckpointFolder folder(posix_file_ops(), model.folder);
  if (!folder.has(run_config_name))
    throw Error(Exit::usage, fmt::format("{}: does not say what it was {}", model.folder, what), without);
  return parse_config(folder.text(run_config_name), model.folder + "/" + run_config_name, {});
}

// The validation text that the run was trained beside.
std::vector<std::string> own_validation(const OpenModel& model) {
  const Config config = config_of(model, "validated on", "name the text: --text FILE or --data SHARDS");
  return config.data.validation.empty() ? config.data.train : config.data.validation;
}

// Logits of the first window of a text, for comparing with other programs: tokens (T) and logits (T,V).
void write_logits(const EvalOptions& options, const OpenModel& model, Backend& backend) {
  const ModelConfig& config = model.published.model;
  std::vector<std::int32_t> ids = tokens_of(model, read_text(options.text), 1);
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

std::vector<EvalText> texts_of(const EvalOptions& options, const OpenModel& model, int threads,
                               const TemporaryFolder& temporary) {
  std::vector<EvalText> texts;
  if (!options.text.empty()) {
    const std::vector<std::int32_t> tokens = tokens_of(model, read_text(options.text), threads);
    texts.push_back({options.text, {temporary.path() + "/text.bin"}});
    TokenFileWriter writer(texts[0].paths[0], model.published.model.vocabulary, model.tokenizer->end_of_text(),
                           model.tokenizer->hash());
    writer.append(tokens);
    writer.finish();
    return texts;
  }
  const auto add = [&](const std::vector<std::string>& patterns) {
    std::vector<std::string> paths = find_token_files(patterns, "validation");
    texts.push_back({fmt::format("{}", fmt::join(paths, ", ")), std::move(paths)});
  };
  if (options.data.empty()) add(own_validation(model));
  for (const std::string& pattern : options.data) add({pattern});
  return texts;
}

Exit evaluate_model(const EvalOptions& options, Invocation& invocation) {
  Backend backend = options.device.make(invocation);
  const OpenModel model = open_shown(options.model, backend, options.device.precision, invocation.console);
  if (options.choice.path) return show_choice(options.choice, model, backend, options.json, invocation);
  if (!options.logits.empty()) {
    if (options.text.empty()) throw Error(Exit::usage, "--logits: needs the text to compute them for (--text FILE)");
    write_logits(options, model, backend);
    return Exit::done;
  }
  const std::int64_t context = model.published.model.context;
  if (options.stride > context) {
    throw Error(Exit::usage,
                fmt::format("--stride: {} is more than the model's context of {} tokens", options.stride, context));
  }
  if (options.generation.asked && !options.generation.needs_text())
    return show_generation(options.generation, model, backend, {}, options.json, invocation);
  TemporaryFolder temporary;
  const std::vector<EvalText> texts = texts_of(options, model, backend.device->info().threads, temporary);
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
  const EvalResults results = evaluator.evaluate_all(texts);
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
      verb->add_option("--data", o->data,
                       "Token shards, a glob or a folder; again for another text; none: the run's own validation text")
          ->allow_extra_args(false);
  verb->add_option("--text", o->text, "A text file")->excludes(data);
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
  verb->add_option("--logits", o->logits,
                   "Write the logits of the first window of --text to this safetensors file, and nothing else");
  o->device.add_to(*verb);
  o->forcing.add_to(*verb);
  o->generation.add_to(*verb);
  o->choice.add_to(*verb);
  verb->add_flag("--json", o->json, "Print JSON");
  verb->callback([&invocation, o] { invocation.run = [&invocation, o] { return evaluate_model(*o, invocation); }; });
}

}  // namespace nll
