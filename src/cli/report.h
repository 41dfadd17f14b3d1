// Figures for people and for programs: bytes, rates, the cache report.
#pragma once

#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "thinkey/cache_report.h"
#include "thinkey/generate.h"

namespace thinkey::cli {

using OrderedJson = nlohmann::ordered_json;

// "512 B", "37.5 KiB", "1.20 GiB": three significant digits.
[[nodiscard]] std::string format_bytes(std::size_t bytes);

// A count that may be a mean: "2048", "2047.5".
[[nodiscard]] std::string format_count(double count);

// Columns padded to their widest cell, two spaces apart, the first one flush left and the others
// flush right; every line starts with `indent` spaces. rows[0] is the header.
[[nodiscard]] std::string format_table(const std::vector<std::vector<std::string>>& rows,
                                       std::size_t indent = 0);

// Tokens kept, key channels kept and bytes, per layer (equal neighbours in one row) and in all, against full
// f16.
[[nodiscard]] std::string format_cache_report(const CacheReport& report);

// "1234 tokens in 1.20 s, 1028 tokens/s".
[[nodiscard]] std::string format_rate(std::int64_t tokens, double seconds);

[[nodiscard]] OrderedJson to_json(const CacheReport& report);
// {"tokens", "seconds", "tokens_per_second"}
[[nodiscard]] OrderedJson rate_json(std::int64_t tokens, double seconds);

// As text with two spaces of indentation and a final newline; bytes that are not UTF-8 become U+FFFD.
[[nodiscard]] std::string dump(const OrderedJson& json);

}  // namespace thinkey::cli
