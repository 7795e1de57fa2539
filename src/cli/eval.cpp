// nll eval: how well a model predicts held-out text.
#include <fmt/format.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "src/cli/verbs.h"
#include "src/eval/evaluate.h"
#include "src/train/checkpoint_texts.h"
#include "src/train/model_folder.h"
#include "src/train/trainer.h"

namespace nll {

namespace {

namespace fs = std::filesystem;

struct EvalOptions {
  std::string model, text, logits;
  std::vector<std::string> data;
  std::int64_t tokens = 0;
  DeviceOptions device;
  bool json = false;
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

// The validation text that the run was trained beside.
std::vector<std::string> own_validation(const OpenModel& model) {
  const CheckpointFolder folder(posix_file_ops(), model.folder);
  if (!folder.has(run_config_name)) {
    throw Error(Exit::usage, model.folder + ": does not say what it was validated on",
                "name the text: --text FILE or --data SHARDS");
  }
  const Config config = parse_config(folder.text(run_config_name), model.folder + "/" + run_config_name, {});
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

std::string table(const Evaluation& e, const std::string& model, const std::string& data) {
  std::string text = fmt::format("{} on {}: {} tokens, {} bytes\n", model, data, e.tokens, e.bytes);
  for (const auto& [name, value] : fields(e)) {
    const bool count = name == "tokens" || name == "bytes" || name == "characters";
    text += fmt::format("  {:<22} {:>10.{}f}\n", name, value, count ? 0 : 4);
  }
  text += "  calibration: share of tokens, confidence, accuracy\n";
  for (const CalibrationBin& bin : e.calibration) {
    if (bin.count == 0) continue;
    const double n = static_cast<double>(bin.count);
    text += fmt::format("    {:6.2f} %   {:.3f}   {:.3f}\n", 100 * n / static_cast<double>(e.tokens),
                        bin.confidence_sum / n, static_cast<double>(bin.correct) / n);
  }
  return text;
}

Exit evaluate_model(const EvalOptions& options, Invocation& invocation) {
  Backend backend = options.device.make(invocation);
  const OpenModel model = open_shown(options.model, backend, options.device.precision, invocation.console);
  if (!options.logits.empty()) {
    if (options.text.empty()) throw Error(Exit::usage, "--logits: needs the text to compute them for (--text FILE)");
    write_logits(options, model, backend);
    return Exit::done;
  }
  const ModelConfig& config = model.published.model;
  TemporaryFolder temporary;
  std::vector<std::string> paths;
  if (!options.text.empty()) {
    const std::vector<std::int32_t> tokens = tokens_of(model, read_text(options.text), backend.device->info().threads);
    paths.push_back(temporary.path() + "/text.bin");
    TokenFileWriter writer(paths.back(), config.vocabulary, model.tokenizer->end_of_text(), model.tokenizer->hash());
    writer.append(tokens);
    writer.finish();
  } else {
    paths = find_token_files(options.data.empty() ? own_validation(model) : options.data, "validation");
  }
  // Windows of one token: a text shorter than the context is evaluated too.
  const TokenDataset dataset(paths, 1, config.vocabulary);
  TokenLengths lengths;
  if (model.tokenizer) lengths = token_lengths(*model.tokenizer);
  lengths.bytes.resize(static_cast<std::size_t>(config.vocabulary));
  lengths.special.resize(static_cast<std::size_t>(config.vocabulary));
  lengths.characters.resize(static_cast<std::size_t>(config.vocabulary));

  const std::int64_t B = std::max<std::int64_t>(1, 2048 / config.context);
  Gpt gpt(config, *backend.ops, *backend.device, B, config.context, Pass::inference, model.numerics);
  Head head(config, model.published.head, *backend.ops, *backend.device, B * config.context, model.numerics);
  const Arena inputs(*backend.device, evaluation_plan(B, config.context));
  SequentialWindows windows(dataset, config.context, B, options.tokens, config.vocabulary);
  Job job(invocation.console, "evaluating", "tokens");
  const Evaluation result = evaluate(gpt, head, *backend.device, model.weights, windows, lengths, inputs,
                                     [&](std::int64_t done, std::int64_t total) {
                                       job.update(done, total);
                                       return !invocation.stop_requested();
                                     });
  job.finish();
  if (!result.complete) throw Error(Exit::stopped, "eval: stopped on request");
  const std::string data = options.text.empty() ? fmt::format("{}", fmt::join(paths, ", ")) : options.text;
  if (options.json) {
    nlohmann::ordered_json out{{"model", model.folder}, {"data", data}, {"context", config.context}};
    for (const auto& [name, value] : fields(result)) out[name] = value;
    for (const CalibrationBin& bin : result.calibration) {
      out["calibration"].push_back(
          {{"count", bin.count}, {"correct", bin.correct}, {"confidence_sum", bin.confidence_sum}});
    }
    print(out.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n");
  } else {
    print(table(result, model.folder, data));
  }
  return Exit::done;
}

}  // namespace

void add_eval(CLI::App& app, Invocation& invocation) {
  CLI::App* verb = app.add_subcommand("eval", "Measure a model on held-out text");
  auto o = std::make_shared<EvalOptions>();
  verb->add_option("RUN", o->model, "A run, a checkpoint, or a Hugging Face GPT-2 folder")->required();
  CLI::Option* data =
      verb->add_option("--data", o->data, "Token shards, globs or folders; none: the run's own validation text")
          ->allow_extra_args(false);
  verb->add_option("--text", o->text, "A text file")->excludes(data);
  verb->add_option("--tokens", o->tokens, "Look at this many tokens at most; 0: all")
      ->capture_default_str()
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{1} << 50));
  verb->add_option("--logits", o->logits,
                   "Write the logits of the first window of --text to this safetensors file, and nothing else");
  o->device.add_to(*verb);
  verb->add_flag("--json", o->json, "Print JSON");
  verb->callback([&invocation, o] { invocation.run = [&invocation, o] { return evaluate_model(*o, invocation); }; });
}

}  // namespace nll
