// tokenizer.json alone.
#pragma once

#include <filesystem>

#include "formats/tokenizer_data.h"

namespace thinkey {

// As read_tokenizer_json(), before the ends of generation are collected (finish_tokenizer()).
[[nodiscard]] TokenizerData read_tokenizer_tables(const std::filesystem::path& path);

}  // namespace thinkey
