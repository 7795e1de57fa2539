#include "src/config/suggest.h"

#include <algorithm>
#include <array>
#include <utility>

namespace nll {
namespace {

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

// Names of other trainers and libraries, for hints only: none of them is accepted.
constexpr std::array<std::pair<const char*, const char*>, 44> foreign_names = {{
    {"adam", "adamw"},
    {"adam_epsilon", "epsilon"},
    {"batch_size", "tokens_per_step"},
    {"betas", "beta1"},
    {"bfloat16", "bf16"},
    {"block_size", "context"},
    {"clip", "clip_norm"},
    {"d_model", "width"},
    {"dtype", "compute"},
    {"eps", "epsilon"},
    {"eval_interval", "every_steps"},
    {"eval_tokens", "tokens"},
    {"float32", "fp32"},
    {"fp16", "bf16"},
    {"gpu", "cuda"},
    {"grad_clip", "clip_norm"},
    {"hidden_size", "width"},
    {"learning_rate_decay_steps", "decay_steps"},
    {"lr", "learning_rate"},
    {"max_grad_norm", "clip_norm"},
    {"max_iters", "steps"},
    {"max_lr", "learning_rate"},
    {"max_seq_len", "context"},
    {"max_steps", "steps"},
    {"micro_batch_size", "sequences"},
    {"min_lr", "final_fraction"},
    {"n_ctx", "context"},
    {"n_embd", "width"},
    {"n_head", "heads"},
    {"n_heads", "heads"},
    {"n_layer", "layers"},
    {"n_layers", "layers"},
    {"n_positions", "context"},
    {"num_heads", "heads"},
    {"num_layers", "layers"},
    {"num_steps", "steps"},
    {"out_dir", "directory"},
    {"output_dir", "directory"},
    {"seq_len", "context"},
    {"total_batch_size", "tokens_per_step"},
    {"vocab_size", "vocabulary"},
    {"warmup", "warmup_steps"},
    {"warmup_iters", "warmup_steps"},
    {"wd", "weight_decay"},
}};

}  // namespace

int edit_distance(const std::string& a, const std::string& b) {
  // Optimal string alignment; three rows suffice because a swap looks back two.
  std::vector<int> before(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) last[j] = static_cast<int>(j);
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = static_cast<int>(i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const char x = lower(a[i - 1]), y = lower(b[j - 1]);
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (x == y ? 0 : 1)});
      if (i > 1 && j > 1 && x == lower(b[j - 2]) && lower(a[i - 2]) == y) row[j] = std::min(row[j], before[j - 2] + 1);
    }
    std::swap(before, last);
    std::swap(last, row);
  }
  return last[b.size()];
}

std::string known_elsewhere_as(const std::string& name) {
  for (const auto& [foreign, ours] : foreign_names) {
    if (name == foreign) return ours;
  }
  return {};
}

std::string nearest(const std::string& unknown, const std::vector<std::string>& known) {
  // A name longer than any key is no typing error of one, and the distance costs the product of the lengths.
  if (unknown.empty() || unknown.size() > 64) return {};
  const auto is_known = [&](const std::string& name) {
    return std::find(known.begin(), known.end(), name) != known.end();
  };
  if (const std::string ours = known_elsewhere_as(unknown); !ours.empty() && is_known(ours)) return ours;
  std::string best;
  int best_distance = 0;
  for (const std::string& name : known) {
    const int distance = edit_distance(unknown, name);
    if (best.empty() || distance < best_distance) {
      best = name;
      best_distance = distance;
    }
  }
  const int longest = static_cast<int>(std::max(unknown.size(), best.size()));
  if (best_distance <= std::max(1, longest / 3)) return best;
  // "optim" or "norm" of a longer name: a part is a good guess when only one name has it.
  std::string holder;
  for (const std::string& name : known) {
    if (unknown.size() < 3 || name.find(unknown) == std::string::npos) continue;
    if (!holder.empty()) return {};
    holder = name;
  }
  return holder;
}

}  // namespace nll
