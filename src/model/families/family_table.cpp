#include <array>

#include "model/families/families.h"

namespace thinkey {

std::span<const Family> families() noexcept {
  static constexpr std::array<Family, 16> table{{
      {"llama", "llama", family::llama},
      {"mistral", "mistral", family::mistral},
      {"mistral3", "ministral3", family::ministral3},
      {"qwen2", "qwen2", family::qwen2},
      {"qwen3", "qwen3", family::qwen3},
      {"qwen3moe", "qwen3_moe", family::qwen3_moe},
      {"gemma2", "gemma2", family::gemma2},
      {"gemma3", "gemma3_text", family::gemma3},
      {"phi3", "phi3", family::phi3},
      {"smollm3", "smollm3", family::smollm3},
      {"granite", "granite", family::granite},
      {"granitehybrid", "granitemoehybrid", family::granite_hybrid},
      {"olmo2", "olmo2", family::olmo2},
      {"", "olmo3", family::olmo3},  // as GGUF it is an olmo2 with windows
      {"glm4", "glm4", family::glm4},
      {"gpt-oss", "gpt_oss", family::gpt_oss},
  }};
  return table;
}

}  // namespace thinkey
