// tokenizer.json alone.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "formats/model_file.h"

namespace thinkey {

// As read_tokenizer_json(), before the ends of generation are collected (finish_tokenizer()).
[[nodiscard]] TokenizerData read_tokenizer_tables(const std::filesystem::path& path);

// Id of an exact piece; -1 when there is none.
[[nodiscard]] std::int32_t find_piece(const TokenizerData& data, const std::string& piece);

}  // namespace thinkey
