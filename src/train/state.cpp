#include "src/train/state.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <string_view>

#include "kernels/check.h"

namespace nll {

namespace {

using Json = nlohmann::ordered_json;

// The fields once, for writing and for reading.
template <class State, class Visit>
void fields(State& s, const Visit& visit) {
  visit("step", s.step);
  visit("samples", s.samples);
  visit("tokens", s.tokens);
  visit("updates", s.updates);
  visit("loss_scale", s.loss_scale);
  visit("good_updates", s.good_updates);
  visit("skipped", s.skipped);
  visit("skipped_in_a_row", s.skipped_in_a_row);
  visit("best_step", s.best_step);
  visit("best_loss", s.best_loss);
  visit("seconds", s.seconds);
  visit("samples_per_step", s.samples_per_step);
  visit("data_fingerprint", s.data_fingerprint);
}

}  // namespace

std::string TrainingState::json() const {
  Json out;
  fields(*this, [&](const char* name, const auto& value) { out[name] = value; });  // an infinite best_loss becomes null
  return out.dump(2) + "\n";
}

TrainingState TrainingState::parse(const std::string& text, const std::string& place) {
  const Json in = Json::parse(text, nullptr, false);
  if (in.is_discarded() || !in.is_object()) throw Error(Exit::bad_data, place + ": not a JSON object");
  TrainingState state;
  fields(state, [&](const char* name, auto& value) {
    const auto found = in.find(name);
    // Not in checkpoints of the first version, which knew FP32 only.
    const bool added = std::string_view(name) == "loss_scale" || std::string_view(name) == "good_updates";
    if (found == in.end() && added) return;
    if (found == in.end()) throw Error(Exit::bad_data, place + ": " + name + " is missing");
    using T = std::remove_cvref_t<decltype(value)>;
    if constexpr (std::is_floating_point_v<T>) {
      if (found->is_null()) return;  // stays infinite
      if (!found->is_number())
        throw Error(Exit::bad_data, place + ": " + name + ": expected a number, found " + found->dump().substr(0, 40));
    } else {
      const bool fits = std::is_signed_v<T> ? found->is_number_integer() : found->is_number_unsigned();
      if (!fits)
        throw Error(Exit::bad_data,
                    place + ": " + name + ": expected a whole number, found " + found->dump().substr(0, 40));
    }
    value = found->template get<T>();
  });
  if (state.step < 0 || state.samples < 0 || state.tokens < 0 || state.updates < 0) {
    throw Error(Exit::bad_data, place + ": a count is negative");
  }
  return state;
}

}  // namespace nll
