// Recognising the text-splitting pipelines of tokenizer.json.
#pragma once

#include <string>

#include "formats/json.h"

namespace thinkey {

struct TextPipeline {
  bool byte_level = false;        // GPT-2's byte alphabet; otherwise SentencePiece's U+2581
  std::string pre;                // byte level: "llama-bpe", "smollm", "gpt-2" or "default"
  bool add_space_prefix = false;  // SentencePiece: a space is put in front of the text
};

// Reads "normalizer" and "pre_tokenizer" of `tokenizer` (tokenizer.json parsed). Throws Error(Data)
// naming the part that thinkey does not have.
[[nodiscard]] TextPipeline read_text_pipeline(const JsonView& tokenizer);

}  // namespace thinkey
