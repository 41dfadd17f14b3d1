// StreamingLLM (2309.17453): attention sinks and the latest tokens; what was said does not matter.
#include "cache/eviction.h"

namespace thinkey {

std::vector<float> streaming_scores(const EvictionInput& input) {
  std::vector<float> scores(input.tokens);
  for (std::size_t t = 0; t < scores.size(); ++t) {
    // Sinks first, then the later the better; whole numbers below 2^24 are exact in f32, and above
    // it neighbours may tie, which the ranking breaks towards the earlier token.
    scores[t] = t < static_cast<std::size_t>(input.spec.sinks) ? static_cast<float>(input.tokens)
                                                               : static_cast<float>(t);
  }
  return scores;
}

}  // namespace thinkey
