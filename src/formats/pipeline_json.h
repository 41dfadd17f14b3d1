// The text pipeline of a tokenizer.json, component by component as the `tokenizers` library defines them.
#pragma once

#include "formats/json.h"
#include "formats/tokenizer_data.h"

namespace thinkey {

// Reads "normalizer", "pre_tokenizer" and "decoder" of `tokenizer` (tokenizer.json parsed) into `data`.
// Throws Error(Data) naming a component, or a setting of one, that thinkey does not have.
void read_text_pipeline(const JsonView& tokenizer, TokenizerData& data);

}  // namespace thinkey
