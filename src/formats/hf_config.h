// config.json of a Hugging Face model directory.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "formats/fp8.h"
#include "formats/json.h"
#include "formats/model_file.h"

namespace thinkey {

struct HfConfig {
  Hyperparameters hyperparameters;  // tied_output as far as config.json says
  // tie_word_embeddings; nullopt when the file leaves it open.
  std::optional<bool> tied;
  // Token ids as config.json gives them; may lie outside the vocabulary.
  std::optional<std::int64_t> bos;
  std::vector<std::int64_t> eos;
  std::optional<Fp8Config> fp8;
};

// Reads and checks `config` (config.json parsed). Follows transformers' defaults for absent keys.
// Throws Error(Data) for other architectures and for features that would change the result.
[[nodiscard]] HfConfig read_hf_config(const JsonView& config);

// An id or a list of ids, as eos_token_id is written; empty when absent. Throws Error(Data).
[[nodiscard]] std::vector<std::int64_t> id_list(const JsonView& object, const std::string& key);

}  // namespace thinkey
