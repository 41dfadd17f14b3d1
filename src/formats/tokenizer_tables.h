// What both sources of TokenizerData have to do at the end.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "formats/tokenizer_data.h"

namespace thinkey {

inline constexpr std::size_t kMaxVocabulary = std::size_t{1} << 21U;

// Adds to end_of_generation what ends an answer by its text (<|eot_id|>, </s>, ...) and the EOS id,
// sorts it, and gives those pieces type Control where the file calls them normal text. Then checks
// that the tables have one length and the ids are those of tokens. Throws Error(Data).
void finish_tokenizer(TokenizerData& data, const std::filesystem::path& path);

// The value of a byte piece "<0x0A>", or nullopt for other text.
[[nodiscard]] std::optional<std::uint8_t> byte_piece(std::string_view piece) noexcept;

// Id of an exact piece; -1 when there is none.
[[nodiscard]] std::int32_t find_piece(const TokenizerData& data, const std::string& piece);

// What a merge makes: `right` loses the prefix that marks the inside of a word.
[[nodiscard]] std::string merged_piece(std::string_view left, std::string_view right,
                                       std::string_view subword_prefix);

}  // namespace thinkey
