// What a compressed layer gets wrong: its attention logits and outputs against the whole keys and values.
#pragma once

#include <cstddef>

#include "cache/layer_cache.h"
#include "cache/sequence_cache.h"

namespace thinkey::eval {

// Over a set of queries and all heads of a layer.
struct AttentionError {
  std::size_t queries = 0;
  double logits = 0.0;     // ||A - A'||_F / ||A||_F of the logits of kept tokens
  double kept_mass = 1.0;  // mean share of the true attention weights that fall on kept tokens
  double output = 0.0;     // ||O - O'||_F / ||O||_F of the attention's output
};

struct LayerError {
  AttentionError window;   // the last `window` queries: those by which tokens and channels are chosen
  AttentionError earlier;  // the view's queries before them: what the choice does to others
};

// `prompt`: the layer's whole prompt, as compress_prompt() had it; `cache`: right after compress_prompt().
// Each query sees the tokens up to its own position (and within the sliding window).
[[nodiscard]] LayerError layer_error(const AttentionShape& shape, const PromptView& prompt,
                                     const LayerCache& cache, std::size_t window);

}  // namespace thinkey::eval
