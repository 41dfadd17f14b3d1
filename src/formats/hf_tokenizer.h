// tokenizer.json and the small files beside it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

#include "formats/hf_config.h"
#include "formats/model_file.h"

namespace thinkey {

// The tables of `directory` for a model of config.vocabulary tokens; no tokens when there is no
// tokenizer.json. Ids that the embedding has but the tokenizer has not become unused tokens.
// Throws Error(Data).
[[nodiscard]] TokenizerData read_hf_tokenizer(const std::filesystem::path& directory, const HfConfig& config);

}  // namespace thinkey
