#include "cache/think.h"

#include <algorithm>
#include <cmath>

namespace thinkey {

std::vector<float> think_key_scores(const KeyStatistics& statistics, bool centred) {
  std::vector<float> scores(statistics.energy.size());
  for (std::size_t j = 0; j < scores.size(); ++j) {
    const double mean = centred ? statistics.mean[j] : 0.0;
    scores[j] =
        static_cast<float>(statistics.query_energy[j] * std::max(0.0, statistics.energy[j] - mean * mean));
  }
  return scores;
}

std::vector<float> key_noise(const KeyStatistics& statistics) {
  std::vector<float> noise(statistics.range_energy.size());
  for (std::size_t j = 0; j < noise.size(); ++j) {
    noise[j] = static_cast<float>(statistics.query_energy[j] * statistics.range_energy[j] / 12.0);
  }
  return noise;
}

std::vector<float> think_value_scores(const std::vector<double>& output_energy) {
  std::vector<float> scores(output_energy.size());
  std::ranges::transform(output_energy, scores.begin(),
                         [](double energy) { return static_cast<float>(std::sqrt(energy)); });
  return scores;
}

}  // namespace thinkey
