// nll sample: continues a prompt, streaming.
#include <fmt/format.h>

#include <chrono>
#include <iostream>
#include <iterator>

#include "src/cli/verbs.h"
#include "src/infer/generate.h"
#include "src/infer/stream.h"
#include "src/train/model_folder.h"

namespace nll {

namespace {

struct SampleOptions {
  std::string model, prompt;
  SamplingRules rules;
  std::int64_t max_tokens = 256;
  DeviceOptions device;
  std::uint64_t seed = 1337;
  std::vector<std::string> stop;
};

Exit sample(const SampleOptions& options, Invocation& invocation) {
  check_sampling(options.rules);
  Backend backend = options.device.make(invocation);
  const OpenModel model = open_shown(options.model, backend, options.device.precision, invocation.console);
  if (!model.tokenizer)
    throw Error(Exit::bad_data, model.folder + ": has no tokenizer, so it cannot read or write text");
  std::string prompt = options.prompt;
  if (prompt == "-") prompt.assign(std::istreambuf_iterator<char>(std::cin), {});
  GenerationRequest request;
  request.end_of_text = model.tokenizer->end_of_text();
  // A document begins after the end of the one before it.
  if (request.end_of_text >= 0) request.prompt.push_back(request.end_of_text);
  for (std::int32_t id : model.tokenizer->encode(prompt)) request.prompt.push_back(id);
  if (request.prompt.empty())
    throw Error(Exit::usage, "PROMPT: is empty, and this tokenizer has no end-of-text token to begin with");
  request.rules = options.rules;
  request.max_tokens = options.max_tokens;
  request.seed = options.seed;
  request.vocabulary = model.tokenizer->vocabulary();

  Generator generator(model.published.model, model.published.head, *backend.ops, *backend.device, model.numerics);
  Utf8Stream stream(options.stop);
  print(prompt);
  std::int64_t tokens = 0;
  const auto start = std::chrono::steady_clock::now();
  bool interrupted = false;
  const StopReason reason = generator.generate(model.weights, request, [&](std::int32_t id, double) {
    ++tokens;
    print(stream.push(model.tokenizer->decode(std::span(&id, 1))));
    interrupted = invocation.stop_requested();
    return !interrupted && !stream.stopped();
  });
  print(stream.flush() + "\n");
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const char* why = interrupted                         ? "stopped on request"
                    : stream.stopped()                  ? "stop text"
                    : reason == StopReason::end_of_text ? "end of text"
                                                        : "length";
  invocation.console.info(fmt::format("{} tokens in {:.2f} s, {:.1f} tokens/s ({})", tokens, seconds,
                                      static_cast<double>(tokens) / std::max(seconds, 1e-9), why));
  return interrupted ? Exit::stopped : Exit::done;
}

}  // namespace

void add_sample(CLI::App& app, Invocation& invocation) {
  CLI::App* verb = app.add_subcommand("sample", "Continue a prompt with a trained model");
  auto o = std::make_shared<SampleOptions>();
  verb->add_option("RUN", o->model, "A run, a checkpoint, or a Hugging Face GPT-2 folder")->required();
  verb->add_option("PROMPT", o->prompt,
                   "Text to continue; `-` reads it from standard input; none: the start of a document");
  verb->add_option("--temperature", o->rules.temperature, "0: always the most likely token")->capture_default_str();
  verb->add_option("--top-k", o->rules.top_k, "Only the k most likely tokens; 0: all")->capture_default_str();
  verb->add_option("--top-p", o->rules.top_p, "Only the most likely tokens that hold this probability")
      ->capture_default_str();
  verb->add_option("--min-p", o->rules.min_p, "Only tokens at least this share of the most likely one's probability")
      ->capture_default_str();
  verb->add_option("--repetition-penalty", o->rules.repetition_penalty, "On tokens of prompt and output; 1: off")
      ->capture_default_str();
  verb->add_option("--frequency-penalty", o->rules.frequency_penalty, "For each time a token was generated, -2 to 2")
      ->capture_default_str();
  verb->add_option("--presence-penalty", o->rules.presence_penalty, "Once for a token that was generated, -2 to 2")
      ->capture_default_str();
  verb->add_option("--max-tokens", o->max_tokens, "Tokens to generate at most")
      ->capture_default_str()
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 40));
  verb->add_option("--seed", o->seed, "The same seed gives the same text")->capture_default_str();
  verb->add_option("--stop", o->stop, "End before this text (may be given several times)")->allow_extra_args(false);
  o->device.add_to(*verb);
  verb->callback([&invocation, o] { invocation.run = [&invocation, o] { return sample(*o, invocation); }; });
}

}  // namespace nll
