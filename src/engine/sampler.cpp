#include "thinkey/sampler.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <limits>
#include <random>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/fail.h"

namespace thinkey {
namespace {

struct Candidate {
  std::int32_t id;
  float logit;
};

// Higher logits first, ties to the lower id: a strict order, so every result is reproducible.
bool likelier(const Candidate& a, const Candidate& b) noexcept {
  return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
}

void check(const SamplerOptions& o) {
  if (!(o.temperature >= 0.0F) || std::isinf(o.temperature)) {
    fail_usage("temperature {}: it must be 0 (greedy) or more", o.temperature);
  }
  if (o.top_k < 0) fail_usage("top-k {}: it must be 0 (off) or more", o.top_k);
  if (!(o.top_p > 0.0F && o.top_p <= 1.0F)) {
    fail_usage("top-p {}: it must be above 0 and at most 1 (off)", o.top_p);
  }
  if (!(o.min_p >= 0.0F && o.min_p <= 1.0F)) fail_usage("min-p {}: it must be 0 (off) to 1", o.min_p);
  if (!(o.repeat_penalty > 0.0F) || std::isinf(o.repeat_penalty)) {
    fail_usage("repeat penalty {}: it must be above 0; 1 is off", o.repeat_penalty);
  }
  if (o.repeat_last_n < -1) {
    fail_usage("repeat-last-n {}: it must be -1 (everything), 0 (off) or more", o.repeat_last_n);
  }
  if (!std::isfinite(o.presence_penalty)) fail_usage("presence penalty {}: not finite", o.presence_penalty);
  if (!std::isfinite(o.frequency_penalty)) {
    fail_usage("frequency penalty {}: not finite", o.frequency_penalty);
  }
  for (const auto& [id, bias] : o.logit_bias) {
    if (std::isnan(bias)) fail_usage("logit bias of token {}: not a number", id);
  }
}

}  // namespace

struct Sampler::Impl {
  explicit Impl(const SamplerOptions& o) : options(o), random(o.seed) {}

  [[nodiscard]] bool penalises() const noexcept {
    return options.repeat_penalty != 1.0F && options.repeat_last_n != 0;
  }

  [[nodiscard]] bool counts() const noexcept {
    return options.presence_penalty != 0.0F || options.frequency_penalty != 0.0F;
  }

  // A candidate by its token, while they stand in the order of the vocabulary.
  void change(std::int32_t id, float by) {
    if (id < 0 || static_cast<std::size_t>(id) >= candidates.size()) return;
    constexpr float kMost = std::numeric_limits<float>::max();
    float& logit = candidates[static_cast<std::size_t>(id)].logit;
    logit = std::clamp(logit + by, -kMost, kMost);
  }

  // A repeated token's logit moves towards "less likely", whatever its sign (CTRL, 1909.05858).
  void penalise() {
    for (const auto& [id, times] : generated) {
      change(id, -options.presence_penalty - static_cast<float>(times) * options.frequency_penalty);
    }
    if (!penalises()) return;
    const std::unordered_set<std::int32_t> distinct(history.begin(), history.end());
    for (const std::int32_t id : distinct) {
      if (id < 0 || static_cast<std::size_t>(id) >= candidates.size()) continue;
      float& logit = candidates[static_cast<std::size_t>(id)].logit;
      logit = logit > 0.0F ? logit / options.repeat_penalty : logit * options.repeat_penalty;
    }
  }

  // The top_k likeliest in order; all of them when top-k is off.
  void keep_top_k() {
    const std::size_t k = options.top_k == 0
                              ? candidates.size()
                              : std::min(candidates.size(), static_cast<std::size_t>(options.top_k));
    const auto end = candidates.begin() + static_cast<std::ptrdiff_t>(k);
    std::partial_sort(candidates.begin(), end, candidates.end(), likelier);
    candidates.erase(end, candidates.end());
  }

  // weights[i] = exp((logit[i] - logit[0]) / temperature); returns the sum. candidates are in order.
  double exponentiate(float temperature) {
    weights.resize(candidates.size());
    double sum = 0;
    const auto top = static_cast<double>(candidates[0].logit);
    for (std::size_t i = 0; i < candidates.size(); ++i) {
      const auto logit = static_cast<double>(candidates[i].logit);
      weights[i] = logit == top ? 1.0 : std::exp((logit - top) / static_cast<double>(temperature));
      sum += weights[i];
    }
    return sum;
  }

  // The fewest likeliest candidates whose probabilities reach top_p (nucleus sampling, 1904.09751).
  void keep_top_p() {
    if (options.top_p >= 1.0F) return;
    const double reach = static_cast<double>(options.top_p) * exponentiate(1.0F);
    double cumulative = 0;
    for (std::size_t i = 0; i < candidates.size(); ++i) {
      cumulative += weights[i];
      if (cumulative >= reach) {
        candidates.resize(i + 1);
        return;
      }
    }
  }

  // Those at least min_p times as likely as the likeliest (2407.01082).
  void keep_min_p() {
    if (options.min_p <= 0.0F) return;
    const float least = candidates[0].logit + std::log(options.min_p);
    const auto unlikely = [&](const Candidate& c) { return c.logit < least; };
    candidates.erase(std::find_if(candidates.begin() + 1, candidates.end(), unlikely), candidates.end());
  }

  std::int32_t draw() {
    const double sum = exponentiate(options.temperature);
    // 53 random bits: the standard's distributions may differ between libraries.
    const double uniform = static_cast<double>(random() >> 11U) * 0x1p-53;
    double rest = uniform * sum;
    for (std::size_t i = 0; i < candidates.size(); ++i) {
      rest -= weights[i];
      if (rest < 0) return candidates[i].id;
    }
    return candidates.back().id;  // rounding
  }

  SamplerOptions options;
  std::mt19937_64 random;
  std::deque<std::int32_t> history;                 // the last repeat_last_n accepted tokens
  std::unordered_map<std::int32_t, int> generated;  // how often, where that counts
  std::vector<Candidate> candidates;
  std::vector<double> weights;
};

Sampler::Sampler(const SamplerOptions& options) {
  check(options);
  impl_ = std::make_unique<Impl>(options);
}
Sampler::~Sampler() = default;
Sampler::Sampler(Sampler&&) noexcept = default;
Sampler& Sampler::operator=(Sampler&&) noexcept = default;

std::int32_t Sampler::sample(std::span<const float> logits) { return sample(logits, {}); }

std::int32_t Sampler::sample(std::span<const float> logits, std::span<const std::uint8_t> allowed) {
  if (logits.empty()) fail_usage("there are no logits to sample from");
  Impl& s = *impl_;
  s.candidates.resize(logits.size());
  for (std::size_t i = 0; i < logits.size(); ++i) {
    // Infinities and NaN would leave nothing to compare or to divide by.
    constexpr float kMost = std::numeric_limits<float>::max();
    const float logit = std::isnan(logits[i]) ? -kMost : std::clamp(logits[i], -kMost, kMost);
    s.candidates[i] = {.id = static_cast<std::int32_t>(i), .logit = logit};
  }
  for (const auto& [id, bias] : s.options.logit_bias) s.change(id, bias);
  s.penalise();
  if (!allowed.empty()) {
    std::erase_if(s.candidates,
                  [&](const Candidate& c) { return allowed[static_cast<std::size_t>(c.id)] == 0; });
    if (s.candidates.empty()) fail_data("no token of the vocabulary may follow here");
  }
  if (s.options.temperature == 0.0F) {
    return std::min_element(s.candidates.begin(), s.candidates.end(), likelier)->id;
  }
  s.keep_top_k();
  s.keep_top_p();
  s.keep_min_p();
  return s.draw();
}

void Sampler::accept(std::int32_t token, bool generated) {
  Impl& s = *impl_;
  if (generated && s.counts()) ++s.generated[token];
  if (!s.penalises()) return;
  s.history.push_back(token);
  const auto last_n = static_cast<std::size_t>(s.options.repeat_last_n);
  if (s.options.repeat_last_n > 0 && s.history.size() > last_n) s.history.pop_front();
}

}  // namespace thinkey
