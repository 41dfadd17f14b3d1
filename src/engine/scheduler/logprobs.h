// Log-probabilities of tokens from logits.
#pragma once

#include <cstdint>
#include <span>

#include "engine/scheduler/request.h"

namespace thinkey {

// Of `token`, and of the `top` likeliest tokens (equal ones in the vocabulary's order), under softmax of
// logits [V].
[[nodiscard]] TokenLogprobs token_logprobs(std::span<const float> logits, std::int32_t token, int top);

}  // namespace thinkey
