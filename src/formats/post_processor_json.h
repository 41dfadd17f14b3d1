// The post-processor of a tokenizer.json, as far as it says what stands around a single text.
#pragma once

#include "formats/json.h"
#include "formats/tokenizer_data.h"

namespace thinkey {

// Sets data's BOS and EOS and whether they are added. Throws Error(Data) naming what is not supported.
void read_post_processor(const JsonView& tokenizer, TokenizerData& data);

}  // namespace thinkey
