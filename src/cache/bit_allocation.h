// Mixed precision of key channels (`think:...`): ThinK gives a channel 16 bits or none; here the
// same bytes buy 16, 8, 4, 2 or no bits for each, wherever they save the most error.
#pragma once

#include <cstddef>
#include <span>

#include "backend/key_plan.h"

namespace thinkey {

// dropped[j]: error of the logits when channel j is dropped (think_key_scores); noise[j]: when it is kept
// in b bits, times (2^b - 1)^2 (key_noise). Greedy by error saved per byte, near the optimum since each
// channel's error falls ever more slowly with its bytes. A block never has more bytes than with `rows`
// channels in `format`, which is what ThinK would store; the channel list, once per head, is longer.
// Keeps at least one channel.
[[nodiscard]] KeyPlan allocate_bits(std::span<const float> dropped, std::span<const float> noise,
                                    std::size_t rows, ElementFormat format);

}  // namespace thinkey
