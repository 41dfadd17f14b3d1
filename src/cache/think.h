// ThinK (2407.21018, section 3): query-driven scores of channels, from a layer's statistics.
#pragma once

#include <vector>

#include "backend/layer_store.h"

namespace thinkey {

// score[j] = mean over the last queries and the group's heads of q_j^2, times the mean over the kept
// tokens of k_j^2; ranks like ||Q_S[:, j] K[:, j]^T||_F, the greedy minimiser of the logits' error.
// With `centred`, k_j's variance takes the place of its second moment: right when the dropped
// channels' mean is added back (bias). [D]
[[nodiscard]] std::vector<float> think_key_scores(const KeyStatistics& statistics, bool centred = false);

// What storing channel j in b bits costs the logits, times (2^b - 1)^2, in the unit of think_key_scores: a
// step of KIVI's scale s has the mean square error s^2 / 12, s = (range of k_j in a block) / (2^b - 1).
// noise[j] = mean of q_j^2 times the mean over blocks of 32 kept tokens of range^2 / 12. [D]
[[nodiscard]] std::vector<float> key_noise(const KeyStatistics& statistics);

// score[j] = ||softmax(Q_S K^T) V[:, j]||_F over the kept tokens, root mean square over the last queries and
// the group's heads, from LayerStore::output_energy(). [D]
[[nodiscard]] std::vector<float> think_value_scores(const std::vector<double>& output_energy);

}  // namespace thinkey
