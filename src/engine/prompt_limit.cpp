#include "engine/prompt_limit.h"

#include <algorithm>
#include <limits>

#include "engine/model_impl.h"

namespace thinkey {

std::size_t most_prompt_bytes(const Model& model, std::size_t context) {
  constexpr std::size_t kLeast = std::size_t{1} << 20U;
  constexpr std::size_t kNormalization = 4;
  std::size_t longest = 1;
  for (const auto& token : ModelAccess::impl(model).file->tokenizer().tokens)
    longest = std::max(longest, token.size());
  const std::size_t tokens = context > 0 ? context : model.info().context_length;
  const std::size_t per_token = kNormalization * longest;
  return std::max(kLeast, tokens > std::numeric_limits<std::size_t>::max() / per_token
                              ? std::numeric_limits<std::size_t>::max()
                              : tokens * per_token);
}

}  // namespace thinkey
