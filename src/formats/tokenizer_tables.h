// What both sources of TokenizerData have to do at the end.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string_view>

#include "formats/model_file.h"

namespace thinkey {

inline constexpr std::size_t kMaxVocabulary = std::size_t{1} << 21U;

// Adds to end_of_generation what ends an answer by its text (<|eot_id|>, </s>, ...) and the EOS id,
// sorts it, and gives those pieces type Control where the file calls them normal text. Then checks
// that the tables have one length and the ids are those of tokens. Throws Error(Data).
void finish_tokenizer(TokenizerData& data, const std::filesystem::path& path);

// Whether a byte-pair tokenizer of this pre-tokenizer starts with BOS unless its file says otherwise,
// and whether it takes a whole pre-token found in the vocabulary as it is: both hold for LLaMA 3.
[[nodiscard]] bool is_llama3_like(std::string_view pre) noexcept;

// The value of a byte piece "<0x0A>", or nullopt for other text.
[[nodiscard]] std::optional<std::uint8_t> byte_piece(std::string_view piece) noexcept;

}  // namespace thinkey
