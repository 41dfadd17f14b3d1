// The pipelines of byte-pair tokenizers by the names that GGUF files give them (tokenizer.ggml.pre).
#pragma once

#include <string_view>

#include "formats/tokenizer_data.h"

namespace thinkey {

// The expressions that most models share; src/tokenizer/word_scanner.h executes them without PCRE2.
inline constexpr std::string_view kGpt2Words =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
inline constexpr std::string_view kLlama3Words =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
inline constexpr std::string_view kQwen2Words =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
inline constexpr std::string_view kQwen35Words =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
inline constexpr std::string_view kEveryNumber = R"(\p{N})";
inline constexpr std::string_view kNumbers = R"(\p{N}+)";
inline constexpr std::string_view kSpacesAtEnd = R"(\s+$)";

inline constexpr std::string_view kSpaceMark = "\xE2\x96\x81";  // U+2581, SentencePiece's space

// Sets data's pipeline and model options as `name` asks; add_bos to what files of that name mean when
// they do not say. "" counts as "default". Throws Error(Data), naming what is known, for other names.
void set_pre_tokenizer(std::string_view name, TokenizerData& data);

// SentencePiece's pipeline: spaces are U+2581, one is put in front of every stretch of text when asked for.
void set_space_mark_pipeline(bool prefix, TokenizerData& data);

}  // namespace thinkey
