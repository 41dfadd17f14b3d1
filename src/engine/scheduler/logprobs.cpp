#include "engine/scheduler/logprobs.h"

#include <algorithm>
#include <cmath>

namespace thinkey {

TokenLogprobs token_logprobs(std::span<const float> logits, std::int32_t token, int top) {
  const float most = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += static_cast<double>(std::exp(logit - most));
  const double log_sum = static_cast<double>(most) + std::log(sum);
  const auto of = [&](std::size_t id) {
    return static_cast<float>(static_cast<double>(logits[id]) - log_sum);
  };

  TokenLogprobs out{.token = token, .logprob = of(static_cast<std::size_t>(token)), .top = {}};
  const std::size_t count = std::min(logits.size(), static_cast<std::size_t>(std::max(top, 0)));
  if (count == 0) return out;
  // The likeliest so far, in order; most tokens do not come in.
  std::vector<std::size_t> best;
  for (std::size_t id = 0; id < logits.size(); ++id) {
    if (best.size() == count && logits[id] <= logits[best.back()]) continue;
    const auto at = std::upper_bound(best.begin(), best.end(), id,
                                     [&](std::size_t a, std::size_t b) { return logits[a] > logits[b]; });
    best.insert(at, id);
    if (best.size() > count) best.pop_back();
  }
  for (const std::size_t id : best) out.top.emplace_back(static_cast<std::int32_t>(id), of(id));
  return out;
}

}  // namespace thinkey
