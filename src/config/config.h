// Every key of a run, declared once: name, default, range, unit, help. Parsing, `--set a.b=c`, the checks, `nll
// config`, the saved copy and the docs all walk these declarations (Visitor), so a key exists in this one place.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "src/config/objective_config.h"
#include "src/config/records_config.h"
#include "src/config/visitor.h"

namespace nll {

struct RunConfig {
  std::string directory = "runs/default";
  std::int64_t seed = 1337;
  std::string initial_weights;

  void fields(Visitor& v) {
    v.text("directory", directory, "folder of the run: config, metrics, checkpoints");
    v.integer("seed", seed, at_least(0), "", "seed of initial weights, data order, dropout and samples");
    v.text("initial_weights", initial_weights,
           "run, checkpoint or Hugging Face GPT-2 folder that a fresh run starts from, whose sizes are the defaults of "
           "section model; empty: random");
  }
};

struct DataConfig {
  std::vector<std::string> train = {"data/kjv"};
  std::vector<std::string> validation;
  std::string tokenizer;
  bool allow_change = false;

  void fields(Visitor& v) {
    v.texts(
        "train", train,
        "folder made by `nll tokenize`, a token file, a glob, or a list of them; objectives of records: .jsonl files");
    v.texts("validation", validation,
            "the same for held-out text; empty: the validation shards in the folder of `train`");
    v.text("tokenizer", tokenizer,
           "tokenizer.json or a folder that has one; empty: the one in the folder of `train`, or for records the one "
           "beside "
           "run.initial_weights");
    v.boolean("allow_change", allow_change, "let a resumed run go on although its data changed");
  }
};

struct ModelConfig {
  std::int64_t layers = 12, heads = 12, width = 768, context = 1024, vocabulary = 50257;
  double dropout = 0;

  void fields(Visitor& v) {
    v.integer("layers", layers, between(1, 1000), "", "transformer blocks");
    v.integer("heads", heads, between(1, 1024), "", "attention heads; must divide width");
    v.integer("width", width, between(1, 1 << 20), "", "size of the residual stream");
    v.integer("context", context, between(1, 1 << 24), "tokens", "longest sequence the model sees");
    v.integer("vocabulary", vocabulary, between(2, 1 << 24), "tokens", "number of token ids");
    v.real("dropout", dropout, from_below(0, 1), "", "on embeddings, attention output and MLP output while training");
  }
};

struct HeadConfig {
  AutoInteger chunk_tokens, logits_tokens;
  std::string logits = "float32";
  double softcap = 0;

  void fields(Visitor& v) {
    v.automatic("chunk_tokens", chunk_tokens, between(1, 1 << 24), "tokens",
                "tokens whose logits, or their gradients in the compute type, exist at a time");
    v.automatic("logits_tokens", logits_tokens, between(1, 1 << 24), "tokens",
                "bf16, fp16: tokens of a chunk whose FP32 logits exist at a time; auto: what stays in the GPU's cache");
    v.choice("logits", logits, {"float32", "bfloat16"},
             "type of the logits; bfloat16 rounds them before the softmax, for comparison with trainers that do");
    v.real("softcap", softcap, at_least(0), "", "logits become softcap * tanh(logits / softcap); 0: off");
  }
};

struct BatchConfig {
  std::int64_t tokens_per_step = 524288;
  AutoInteger sequences;
  std::string recompute = "none";

  void fields(Visitor& v) {
    v.integer("tokens_per_step", tokens_per_step, between(1, std::int64_t{1} << 40), "tokens",
              "global batch of one optimizer step; objectives of records count records instead");
    v.automatic("sequences", sequences, between(1, 1 << 20), "sequences", "sequences of one micro-batch on one rank");
    v.choice("recompute", recompute, {"none", "gelu", "norm", "block"},
             "activations that the backward pass computes again instead of keeping, to save memory");
  }
};

struct OptimizerConfig {
  std::string kind = "adamw";
  double learning_rate = 6e-4, beta1 = 0.9, beta2 = 0.95, epsilon = 1e-8, weight_decay = 0.1, clip_norm = 1.0;
  std::string moments = "fp32";

  void fields(Visitor& v) {
    v.choice("kind", kind, {"adamw"}, "optimizer");
    v.real("learning_rate", learning_rate, at_least(0), "", "peak learning rate");
    v.real("beta1", beta1, from_below(0, 1), "", "decay of the first moment");
    v.real("beta2", beta2, from_below(0, 1), "", "decay of the second moment");
    v.real("epsilon", epsilon, above(0), "", "added to the root of the second moment");
    v.real("weight_decay", weight_decay, at_least(0), "", "decoupled, on matrices and embeddings only");
    v.real("clip_norm", clip_norm, at_least(0), "", "gradients are scaled down to this global norm; 0: off");
    v.choice("moments", moments, {"fp32", "bf16"}, "storage of both moments; bf16: GPU only, rounded stochastically");
  }
};

struct ScheduleConfig {
  std::string kind = "cosine";
  std::int64_t warmup_steps = 700, steps = 19073, decay_steps = 0;
  double final_fraction = 0;

  void fields(Visitor& v) {
    v.choice("kind", kind, {"cosine", "linear", "constant", "wsd"}, "shape of the learning rate after the warm-up");
    v.integer("warmup_steps", warmup_steps, at_least(0), "steps", "linear rise from 0 to the peak");
    v.integer("steps", steps, at_least(1), "steps", "length of the run in optimizer steps");
    v.integer("decay_steps", decay_steps, at_least(0), "steps",
              "wsd: length of the final linear decay; 0: a fifth of `steps`");
    v.real("final_fraction", final_fraction, between_real(0, 1), "",
           "learning rate at the last step as a share of the peak");
  }
};

struct PrecisionConfig {
  std::string compute = "auto", residual = "auto";
  bool tf32 = false;
  std::int64_t loss_scale_interval = 2000;

  void fields(Visitor& v) {
    v.choice("compute", compute, {"auto", "fp32", "bf16", "fp16"},
             "arithmetic of the forward and backward pass; auto: fp32 on a CPU, bf16 on a GPU that has it, else fp16");
    v.choice("residual", residual, {"auto", "fp32"}, "storage of the residual stream; auto: as precision.compute");
    v.boolean("tf32", tf32, "fp32 on a GPU: matrix products round their factors to TF32");
    v.integer("loss_scale_interval", loss_scale_interval, between(1, 1 << 30), "updates",
              "fp16: the loss scale doubles after so many good updates in a row");
  }
};

struct EvaluationConfig {
  std::int64_t every_steps = 250, tokens = 1048576, records = 1024;

  void fields(Visitor& v) {
    v.integer("every_steps", every_steps, at_least(0), "steps",
              "validate this often and at the end; 0: only at the end");
    v.integer("records", records, at_least(1), "records", "held-out records (or prompts) looked at while training");
    v.integer("tokens", tokens, at_least(1), "tokens",
              "validation tokens looked at while training (nll eval reads all)");
  }
};

struct CheckpointConfig {
  std::int64_t every_steps = 1000, keep_last = 2, keep_every = 0;
  bool keep_best = true;

  void fields(Visitor& v) {
    v.integer("every_steps", every_steps, at_least(0), "steps",
              "save this often, and always at the end or on request; 0: only then");
    v.integer("keep_last", keep_last, at_least(1), "checkpoints", "newest checkpoints to keep");
    v.integer("keep_every", keep_every, at_least(0), "steps",
              "also keep every checkpoint whose step is a multiple of this; 0: none");
    v.boolean("keep_best", keep_best, "also keep the checkpoint with the lowest validation loss");
  }
};

struct SampleConfig {
  std::int64_t every_steps = 0, tokens = 128;
  std::string prompt;
  double temperature = 0.8;
  std::int64_t top_k = 0;
  double top_p = 0.95;

  void fields(Visitor& v) {
    v.integer("every_steps", every_steps, at_least(0), "steps", "print and log a sample this often; 0: never");
    v.integer("tokens", tokens, at_least(1), "tokens", "length of that sample");
    v.text("prompt", prompt, "text it starts from; empty: end-of-text, the start of a document");
    v.real("temperature", temperature, at_least(0), "", "of that sample; 0: the most likely token");
    v.integer("top_k", top_k, at_least(0), "tokens", "sample from the k most likely tokens only; 0: all");
    v.real("top_p", top_p, above_up_to(0, 1), "", "sample from the most likely tokens that hold this much probability");
  }
};

struct LogConfig {
  std::int64_t every_steps = 1, nonfinite_limit = 5;
  bool tensorboard = true;

  void fields(Visitor& v) {
    v.integer("every_steps", every_steps, at_least(1), "steps", "one train event in metrics.jsonl this often");
    v.integer("nonfinite_limit", nonfinite_limit, at_least(1), "steps", "non-finite steps in a row that stop the run");
    v.boolean("tensorboard", tensorboard, "also write TensorBoard event files, in the run's folder tensorboard/");
  }
};

struct CpuConfig {
  std::int64_t threads = 0;

  void fields(Visitor& v) {
    v.integer("threads", threads, between(0, 4096), "threads", "size of the thread team; 0: one for each core");
  }
};

struct CudaConfig {
  std::string attention = "auto", product_cache = "auto";
  bool tune_products = true, deterministic = true, graphs = true;

  void fields(Visitor& v) {
    v.choice("attention", attention, {"auto", "own", "cudnn"}, "attention kernels; auto: our own");
    v.text(
        "product_cache", product_cache,
        "file of the matrix-product algorithms that were chosen by timing; auto: the user's cache folder; empty: none");
    v.boolean("tune_products", tune_products, "time matrix-product algorithms on first use; false: cuBLASLt's guess");
    v.boolean("deterministic", deterministic, "only algorithms whose sums have a fixed order");
    v.boolean("graphs", graphs, "replay a step as CUDA graphs");
  }
};

struct DistConfig {
  std::string transport = "auto", reduce = "ranks", wire = "fp32";
  bool shard_optimizer = true, share_gpu = false;
  std::int64_t bucket_bytes = 16 << 20, timeout_seconds = 300, check_replicas_every = 0;

  void fields(Visitor& v) {
    v.choice(
        "transport", transport, {"auto", "host", "nccl"},
        "what carries tensors between ranks; host: the host's memory, by MPI or TCP as the launch gives; auto: nccl "
        "for GPUs, host for CPUs");
    v.choice("reduce", reduce, {"ranks", "tree"},
             "order in which gradients are added: rank by rank, or a tree over all micro-batches, whose bits do not "
             "depend on the number of ranks (a power of two)");
    v.choice("wire", wire, {"fp32", "bf16"}, "type of gradients between ranks; they are added in FP32");
    v.boolean("shard_optimizer", shard_optimizer, "each rank keeps and updates its part of the moments (ZeRO-1)");
    v.integer("bucket_bytes", bucket_bytes, between(1, std::int64_t{1} << 40), "bytes",
              "gradients that are reduced as one: whole layers up to at least this");
    v.integer("timeout_seconds", timeout_seconds, between(1, 1 << 30), "seconds",
              "a rank that others wait for longer than this ends the job");
    v.integer("check_replicas_every", check_replicas_every, at_least(0), "steps",
              "compare the weights of all ranks this often; 0: never");
    v.boolean("share_gpu", share_gpu, "let ranks share a GPU");
  }
};

struct Config {
  RunConfig run;
  DataConfig data;
  ModelConfig model;
  ObjectiveConfig objective;
  RecordsConfig records;
  RolloutConfig rollout;
  RewardConfig reward;
  HeadConfig head;
  BatchConfig batch;
  OptimizerConfig optimizer;
  ScheduleConfig schedule;
  PrecisionConfig precision;
  std::string device = "auto";
  EvaluationConfig evaluation;
  CheckpointConfig checkpoint;
  SampleConfig sample;
  LogConfig log;
  CpuConfig cpu;
  CudaConfig cuda;
  DistConfig dist;

  void fields(Visitor& v) {
    v.section("run", run);
    v.section("data", data);
    v.section("model", model);
    v.section("objective", objective);
    v.section("records", records);
    v.section("rollout", rollout);
    v.section("reward", reward);
    v.section("head", head);
    v.section("batch", batch);
    v.section("optimizer", optimizer);
    v.section("schedule", schedule);
    v.section("precision", precision);
    v.choice("device", device, {"auto", "cpu", "cuda"}, "where to train");
    v.section("evaluation", evaluation);
    v.section("checkpoint", checkpoint);
    v.section("sample", sample);
    v.section("log", log);
    v.section("cpu", cpu);
    v.section("cuda", cuda);
    v.section("dist", dist);
  }
};

// Reads a JSON file (comments allowed), applies overrides "a.b=c" in order, checks ranges and everything that involves
// more than one key. What neither file nor overrides set is that of `base`. Throws Error(usage) of one line:
// file:line:column, key, what was expected, what was found, remedy.
Config load_config(const std::string& path, const std::vector<std::string>& overrides, const Config& base = {});
// The keys that file and overrides set, over the defaults, each in its range but not yet checked against each other.
Config read_config(const std::string& path, const std::vector<std::string>& overrides);
// load_config from text; `place` stands where the file's name would.
Config parse_config(const std::string& text, const std::string& place, const std::vector<std::string>& overrides,
                    const Config& base = {});
// The checks that involve more than one key, for `ranks` processes.
void check_config(const Config& config, const std::string& place, std::int64_t ranks = 1);
// The whole config as JSON text that load_config reads back to equal values.
std::string dump_config(const Config& config);
// Every key with default, range and help: plain text, or the table of docs/config.md.
std::string describe_config(bool markdown);
// Dotted keys whose values differ, as "a.b: 1 -> 2". Used to refuse a resume under another config.
std::vector<std::string> differences(const Config& before, const Config& after);

}  // namespace nll
