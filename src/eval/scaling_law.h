// Scaling laws out of finished runs: how the loss falls with the size of the model and of the data.
//   Kaplan et al., 2020: L = (Nc / N)^alpha, a straight line of ln L over ln N (and the same over the tokens D).
//   Hoffmann et al., 2022, approach 3: L = E + A / N^alpha + B / D^beta.
#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "src/eval/bfgs.h"
#include "src/eval/document_loss.h"

namespace nll {

struct ScalingRun {
  double parameters = 0;      // all of them
  double without_tables = 0;  // without the embeddings of tokens and positions
  double tokens = 0;          // trained on
  double loss = 0;            // final, on held-out text, nats per token
  double weight = 1;          // how often the run counts
};

// ---- Kaplan

struct PowerLaw {
  double exponent = 0;   // alpha
  double error = 0;      // standard error of alpha
  Interval interval;     // of alpha, 95 %, Student's t with points - 2 degrees of freedom
  double log_scale = 0;  // ln Nc
  std::int64_t points = 0;
};
// Least squares of ln loss over ln size. Nothing for fewer than three points or two sizes.
std::optional<PowerLaw> fit_power_law(std::span<const double> sizes, std::span<const double> losses);
// The law of one size holds where the other does not limit: over the best run of each N (without tables), of each D.
std::optional<PowerLaw> fit_over_parameters(std::span<const ScalingRun> runs);
std::optional<PowerLaw> fit_over_tokens(std::span<const ScalingRun> runs);

// ---- Hoffmann

inline constexpr double huber_delta = 1e-3;

// theta = (e, a, b, alpha, beta), E = exp(e), A = exp(a), B = exp(b):
// the sum (not the mean) over runs of Huber(LSE(a - alpha ln N, b - beta ln D, e) - ln L), and its gradient.
double hoffmann_objective(std::span<const ScalingRun> runs, const LawVector& theta, LawVector& gradient);

struct HoffmannLaw {
  LawVector theta{};
  double objective = 0;
  double floor() const;             // E
  double parameter_factor() const;  // A
  double token_factor() const;      // B
  double alpha() const { return theta[3]; }
  double beta() const { return theta[4]; }
  double loss(double parameters, double tokens) const;
};

// Whether the runs can say anything: three sizes and three token counts give five independent differences for the five
// constants.
bool hoffmann_possible(std::span<const ScalingRun> runs);
// Whether E can be told from the rest by them: at least 12 runs, 4 sizes and 3 token counts.
bool hoffmann_identified(std::span<const ScalingRun> runs);

// Starts: for fixed (alpha, beta) the law is linear in (E, A, B) >= 0, so these are solved for by non-negative least
// squares of relative errors on a grid of (alpha, beta); from the best of them, and from `also` where it is given, the
// Huber objective is minimised with BFGS.
HoffmannLaw fit_hoffmann(std::span<const ScalingRun> runs, const HoffmannLaw* also = nullptr);

// What `flops` = 6 N D buys at best.
struct ComputeOptimum {
  double parameters = 0, tokens = 0, loss = 0;
  double ratio() const { return tokens / parameters; }
};
ComputeOptimum compute_optimum(const HoffmannLaw& law, double flops);

// Laws of resamples: within each size as many runs as it has, drawn with replacement; draw i of resample r is word
// i % 4 of philox(seed, r, i / 4). Fewer than asked when `progress(done, resamples)` says false.
std::vector<HoffmannLaw> bootstrap_laws(std::span<const ScalingRun> runs, const HoffmannLaw& law, std::uint64_t seed,
                                        std::int64_t resamples,
                                        const std::function<bool(std::int64_t, std::int64_t)>& progress);
// The 2.5 and 97.5 percentiles of what `of` says of each law.
Interval interval_of(std::span<const HoffmannLaw> laws, const std::function<double(const HoffmannLaw&)>& of);

}  // namespace nll
