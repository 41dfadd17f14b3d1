// Figures for people and for programs: bytes, rates, the cache report.
#pragma once

#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/format_text.h"
#include "thinkey/cache_report.h"
#include "thinkey/generate.h"

namespace thinkey::cli {

using OrderedJson = nlohmann::ordered_json;

using thinkey::format_bytes;
using thinkey::format_count;
using thinkey::format_table;

// Tokens kept, key channels kept and bytes, per layer (equal neighbours in one row) and in all, against full
// f16.
[[nodiscard]] std::string format_cache_report(const CacheReport& report);

// "1234 tokens in 1.20 s, 1028 tokens/s".
[[nodiscard]] std::string format_rate(std::size_t tokens, double seconds);

// "lookup   120 tokens drafted, 96 accepted (80.0 %), 2.90 tokens per step" and a newline.
[[nodiscard]] std::string format_lookup(const Generation& generation);
// {"steps", "drafted", "accepted", "tokens_per_step"}
[[nodiscard]] OrderedJson lookup_json(const Generation& generation);

[[nodiscard]] OrderedJson to_json(const CacheReport& report);
// {"tokens", "seconds", "tokens_per_second"}
[[nodiscard]] OrderedJson rate_json(std::size_t tokens, double seconds);

// As text with two spaces of indentation and a final newline; bytes that are not UTF-8 become U+FFFD.
[[nodiscard]] std::string dump(const OrderedJson& json);

}  // namespace thinkey::cli
