// The fit of L = E + A / N^alpha + B / D^beta: the Huber objective, its start by variable projection, its refinement.
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "kernels/check.h"
#include "src/eval/scaling_law.h"

namespace nll {
namespace {

// A run in logarithms around the means of all, in which the constants hardly depend on each other.
struct LogRun {
  double n, d, loss, weight;
};

struct Centred {
  std::vector<LogRun> runs;
  double mean_n = 0, mean_d = 0;
};

Centred centred(std::span<const ScalingRun> runs) {
  Centred all;
  double weight = 0;
  for (const ScalingRun& run : runs) {
    all.mean_n += run.weight * std::log(run.parameters);
    all.mean_d += run.weight * std::log(run.tokens);
    weight += run.weight;
  }
  all.mean_n /= weight;
  all.mean_d /= weight;
  for (const ScalingRun& run : runs) {
    all.runs.push_back(
        {std::log(run.parameters) - all.mean_n, std::log(run.tokens) - all.mean_d, std::log(run.loss), run.weight});
  }
  return all;
}

double objective(std::span<const LogRun> runs, const LawVector& theta, LawVector& gradient) {
  gradient = {};
  double sum = 0;
  for (const LogRun& run : runs) {
    const double terms[3] = {theta[0], theta[1] - theta[3] * run.n, theta[2] - theta[4] * run.d};
    const double largest = std::max({terms[0], terms[1], terms[2]});
    double shares[3], all = 0;
    for (int i = 0; i < 3; ++i) all += shares[i] = std::exp(terms[i] - largest);
    const double off = largest + std::log(all) - run.loss;
    const bool near = std::abs(off) <= huber_delta;
    sum += run.weight * (near ? 0.5 * off * off : huber_delta * (std::abs(off) - 0.5 * huber_delta));
    const double slope = run.weight * (near ? off : std::copysign(huber_delta, off)) / all;
    gradient[0] += slope * shares[0];
    gradient[1] += slope * shares[1];
    gradient[2] += slope * shares[2];
    gradient[3] -= slope * shares[1] * run.n;
    gradient[4] -= slope * shares[2] * run.d;
  }
  return sum;
}

// Least squares with non-negative coefficients for three columns: the best of all sets of columns whose unrestricted
// solution is not negative.   gram (3,3) = X'X, right (3) = X'y. Returns the residual's square less y'y.
double non_negative(const std::array<std::array<double, 3>, 3>& gram, const std::array<double, 3>& right,
                    std::array<double, 3>& best) {
  double lowest = std::numeric_limits<double>::infinity();
  for (unsigned set = 1; set < 8; ++set) {
    int columns[3], count = 0;
    for (int i = 0; i < 3; ++i) {
      if (set >> i & 1) columns[count++] = i;
    }
    // Cholesky's factors of the chosen columns; a pivot that rounding alone makes up ends it.
    double factor[3][3] = {}, solution[3] = {};
    bool usable = true;
    for (int i = 0; i < count && usable; ++i) {
      for (int j = 0; j <= i; ++j) {
        double value = gram[columns[i]][columns[j]];
        for (int k = 0; k < j; ++k) value -= factor[i][k] * factor[j][k];
        if (i == j) {
          usable = value > 1e-13 * gram[columns[i]][columns[i]];
          factor[i][i] = usable ? std::sqrt(value) : 1;
        } else {
          factor[i][j] = value / factor[j][j];
        }
      }
    }
    if (!usable) continue;
    for (int i = 0; i < count; ++i) {
      solution[i] = right[columns[i]];
      for (int k = 0; k < i; ++k) solution[i] -= factor[i][k] * solution[k];
      solution[i] /= factor[i][i];
    }
    double explained = 0;
    for (int i = 0; i < count; ++i) explained += solution[i] * solution[i];
    for (int i = count; i-- > 0;) {
      for (int k = i + 1; k < count; ++k) solution[i] -= factor[k][i] * solution[k];
      solution[i] /= factor[i][i];
      usable = usable && solution[i] >= 0;
    }
    if (!usable || -explained >= lowest) continue;
    lowest = -explained;
    best = {};
    for (int i = 0; i < count; ++i) best[columns[i]] = solution[i];
  }
  return lowest;
}

constexpr double grid_step = 0.05;
constexpr int grid_points = 30;

// The (E, A, B, alpha, beta) of least squares of relative errors over the grid.
LawVector start(std::span<const LogRun> runs) {
  // exp(-step * k * x) for all k, so that the grid needs no further exponentials.
  std::vector<std::array<double, grid_points>> powers_n(runs.size()), powers_d(runs.size());
  for (std::size_t i = 0; i < runs.size(); ++i) {
    for (int k = 0; k < grid_points; ++k) {
      powers_n[i][k] = std::exp(-grid_step * (k + 1) * runs[i].n);
      powers_d[i][k] = std::exp(-grid_step * (k + 1) * runs[i].d);
    }
  }
  std::vector<double> inverse;
  for (const LogRun& run : runs) inverse.push_back(std::exp(-run.loss));
  LawVector best{};
  double lowest = std::numeric_limits<double>::infinity();
  for (int at_n = 0; at_n < grid_points; ++at_n) {
    for (int at_d = 0; at_d < grid_points; ++at_d) {
      std::array<std::array<double, 3>, 3> gram{};
      std::array<double, 3> right{}, solution{};
      for (std::size_t i = 0; i < runs.size(); ++i) {
        const double row[3] = {inverse[i], inverse[i] * powers_n[i][at_n], inverse[i] * powers_d[i][at_d]};
        for (int r = 0; r < 3; ++r) {
          for (int c = 0; c <= r; ++c) gram[r][c] += runs[i].weight * row[r] * row[c];
          right[r] += runs[i].weight * row[r];
        }
      }
      const double residual = non_negative(gram, right, solution);
      if (!(residual < lowest)) continue;
      lowest = residual;
      // A constant that is zero at the start could never grow, so it starts at a thousandth of the others.
      const double least = 1e-3 * (solution[0] + solution[1] + solution[2]);
      for (int i = 0; i < 3; ++i) best[i] = std::log(std::max(solution[i], least));
      best[3] = grid_step * (at_n + 1);
      best[4] = grid_step * (at_d + 1);
    }
  }
  return best;
}

}  // namespace

double hoffmann_objective(std::span<const ScalingRun> runs, const LawVector& theta, LawVector& gradient) {
  std::vector<LogRun> logs;
  for (const ScalingRun& run : runs)
    logs.push_back({std::log(run.parameters), std::log(run.tokens), std::log(run.loss), run.weight});
  return objective(logs, theta, gradient);
}

HoffmannLaw fit_hoffmann(std::span<const ScalingRun> runs, const HoffmannLaw* also) {
  CHECK(!runs.empty());
  const Centred all = centred(runs);
  const Smooth function = [&](const LawVector& theta, LawVector& gradient) {
    return objective(all.runs, theta, gradient);
  };
  std::vector<LawVector> starts = {start(all.runs)};
  if (also != nullptr) {
    LawVector theta = also->theta;
    theta[1] -= theta[3] * all.mean_n;
    theta[2] -= theta[4] * all.mean_d;
    starts.push_back(theta);
  }
  HoffmannLaw best;
  best.objective = std::numeric_limits<double>::infinity();
  for (LawVector& theta : starts) {
    const double value = minimize_bfgs(function, theta);
    if (!(value < best.objective)) continue;
    best.objective = value;
    best.theta = theta;
    best.theta[1] += theta[3] * all.mean_n;
    best.theta[2] += theta[4] * all.mean_d;
  }
  return best;
}

}  // namespace nll
