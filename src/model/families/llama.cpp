// Llama 2, 3, 3.1 to 3.3, TinyLlama, SmolLM2 and everything else that calls itself "llama".
#include "model/families/families.h"

namespace thinkey::family {

void llama(SpecReader& r) {
  r.common({.context_length = 2048});
  r.biases(false, true);
  // The converter permutes the rows of Q and K so that rotated pairs are neighbours.
  r.rope(r.gguf() ? RopePairs::Interleaved : RopePairs::HalfSplit);
  // GGUF's "llama" is also what Mistral files call themselves, with their window; mixtures are refused by
  // their keys and tensors. transformers ignores a window here.
  if (r.gguf()) {
    const std::optional<std::int64_t> window = r.integer({"attention.sliding_window", ""});
    r.windows(window, [&](std::size_t) { return window.value_or(0) > 0; });
    if (r.integer({"expert_count", ""}).value_or(0) > 0) {
      r.config().fail("expert_count", "is not 0: Mixtral's mixture of experts is not supported");
    }
    (void)r.integer({"expert_used_count", ""});
  } else {
    for (const char* key : {"sliding_window", "layer_types"}) r.config().ignore(key);
  }
}

}  // namespace thinkey::family
