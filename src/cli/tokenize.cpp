// nll tokenize: text in, token shards and a tokenizer out.
#include <fmt/format.h>

#include <thread>

#include "src/cli/verbs.h"
#include "src/text/corpus.h"

namespace nll {

void add_tokenize(CLI::App& app, Invocation& invocation) {
  CLI::App* verb =
      app.add_subcommand("tokenize", "Turn text into token shards, with a new tokenizer or an existing one");
  auto o = std::make_shared<CorpusOptions>();
  o->threads = 0;
  verb->add_option("INPUT", o->inputs,
                   "Text files (one document each), .jsonl files with a \"text\" field, folders or globs of them")
      ->required();
  verb->add_option("--output", o->output, "Folder to write: shards and tokenizer.json")->required();
  CLI::Option* size =
      verb->add_option("--vocab-size", o->vocabulary, "Train a byte-level BPE tokenizer with this many ids")
          ->check(CLI::Range(257, 1 << 22));
  verb->add_option("--tokenizer", o->tokenizer,
                   "Use a tokenizer.json, or a folder with one or with GPT-2's encoder.json and vocab.bpe")
      ->excludes(size);
  verb->add_option("--validation-fraction", o->validation_fraction, "Share of the text, at its end, that is held out")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 0.5));
  verb->add_option("--shard-tokens", o->shard_tokens, "Tokens of one shard at most")
      ->capture_default_str()
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 40));
  verb->add_option("--threads", o->threads, "0: one for each core")->capture_default_str()->check(CLI::Range(0, 4096));
  verb->callback([&invocation, o] {
    invocation.run = [&invocation, o] {
      if (o->threads == 0) o->threads = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
      std::unique_ptr<Job> job;
      std::string current;
      const CorpusSummary summary =
          tokenize_corpus(*o, [&](std::string_view phase, std::int64_t done, std::int64_t total) {
            if (invocation.stop_requested())
              throw Error(Exit::stopped, "tokenize: stopped on request; " + o->output + " was not made");
            if (phase != current) {
              if (job) job->finish();
              job = std::make_unique<Job>(invocation.console, std::string(phase), "bytes");
              current = phase;
            }
            job->update(done, total);
          });
      if (job) job->finish();
      print(fmt::format("{}: a tokenizer of {} ids, {:.3f} bytes per token\n", o->output, summary.vocabulary,
                        summary.bytes_per_token()));
      for (const auto& [name, split] :
           {std::pair{"training", summary.train}, std::pair{"validation", summary.validation}}) {
        print(fmt::format("  {:<10} {:>12} tokens  {:>12} bytes  {:>8} document{}\n", name, split.tokens, split.bytes,
                          split.documents, split.documents == 1 ? "" : "s"));
      }
      return Exit::done;
    };
  });
}

}  // namespace nll
