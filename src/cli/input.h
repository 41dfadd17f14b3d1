// Text and token ids from files, standard input and the command line, checked.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace thinkey::cli {

// The bytes of a file (or pipe) of at most 1 GiB; "-" is standard input. Error(Data) names the path.
[[nodiscard]] std::string read_file(const std::filesystem::path& path);

// Error(Data) "WHAT: not valid UTF-8 at byte N" unless `text` is well formed.
void require_utf8(std::string_view text, std::string_view what);

// Token ids separated by white space, each in [0, vocabulary). Error(Data) names path, line and word.
[[nodiscard]] std::vector<std::int32_t> read_ids(const std::filesystem::path& path, std::int64_t vocabulary);

}  // namespace thinkey::cli
