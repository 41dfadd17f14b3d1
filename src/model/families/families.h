// The model families, one small file each: from a file's hyperparameters to a ModelSpec. A new family is a
// new file here and a line in family_table.cpp.
#pragma once

#include <span>
#include <string_view>

#include "model/spec_reader.h"

namespace thinkey {

struct Family {
  std::string_view gguf;  // general.architecture; empty: not as GGUF
  std::string_view hf;    // model_type; empty: not as a Hugging Face directory
  void (*read)(SpecReader& reader);
};

[[nodiscard]] std::span<const Family> families() noexcept;

namespace family {
void llama(SpecReader& reader);
void mistral(SpecReader& reader);
void ministral3(SpecReader& reader);
void qwen2(SpecReader& reader);
void qwen3(SpecReader& reader);
void qwen3_moe(SpecReader& reader);
void gemma2(SpecReader& reader);
void gemma3(SpecReader& reader);
void phi3(SpecReader& reader);
void smollm3(SpecReader& reader);
void granite(SpecReader& reader);
void granite_hybrid(SpecReader& reader);
void olmo2(SpecReader& reader);
void olmo3(SpecReader& reader);
void glm4(SpecReader& reader);
void gpt_oss(SpecReader& reader);
}  // namespace family

}  // namespace thinkey
