// What the model is asked to repeat of a prompt, for policies that are scored by it (KVzip, 2505.23416).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/chat_renderer.h"
#include "model/forward.h"
#include "tokenizer/tokenizer.h"

namespace thinkey {

// Parts of at most 2048 tokens, each after a request to repeat it: the first as "the previous context", later
// ones with the last tokens before them. Between request and part stands what the model's chat template puts
// between a user's message and the answer, if it has a template.
[[nodiscard]] std::vector<Replay> make_replays(const Tokenizer& tokenizer, const ChatRenderer& chat,
                                               std::span<const std::int32_t> prompt);

// The same sizes, for estimates.
[[nodiscard]] std::vector<Replay> replays_of_length(const Tokenizer& tokenizer, const ChatRenderer& chat,
                                                    std::size_t prompt);

}  // namespace thinkey
