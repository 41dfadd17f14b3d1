// What the tokenizer's readers need of config.json.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "formats/json.h"

namespace thinkey {

struct HfConfig {
  std::int64_t vocabulary = 0;  // vocab_size
  // Token ids as config.json gives them; may lie outside the vocabulary.
  std::optional<std::int64_t> bos;
  std::vector<std::int64_t> eos;
};

// Throws Error(Data).
[[nodiscard]] HfConfig read_hf_config(const JsonView& config);

// An id or a list of ids, as eos_token_id is written; empty when absent. Throws Error(Data).
[[nodiscard]] std::vector<std::int64_t> id_list(const JsonView& object, const std::string& key);

}  // namespace thinkey
