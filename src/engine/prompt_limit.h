// How much text can be a prompt at all: what is longer is refused before it is read.
#pragma once

#include <cstddef>
#include <cstdint>

#include "thinkey/model.h"

namespace thinkey {

// Bytes of text that no tokenizer of this model turns into `context` tokens or fewer: each token stands for
// at most as many bytes as its longest piece has, four times over for what normalization takes away. At least
// 1 MiB.
[[nodiscard]] std::size_t most_prompt_bytes(const Model& model, std::size_t context);

}  // namespace thinkey
