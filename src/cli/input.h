// Text and token ids from files, standard input and the command line, checked.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "formats/text_file.h"

namespace thinkey::cli {

using thinkey::read_file;
using thinkey::require_utf8;

// The text of a file, or of standard input for "-": UTF-8, without the byte-order mark it may begin with.
// Error(Data) names the path.
[[nodiscard]] std::string read_text(const std::filesystem::path& path, const TextLimit& limit = {});

// Token ids separated by white space, each in [0, vocabulary). Error(Data) names path, line and word.
[[nodiscard]] std::vector<std::int32_t> read_ids(const std::filesystem::path& path, std::size_t vocabulary);

}  // namespace thinkey::cli
