// Text from files and standard input, checked.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace thinkey {

// The bytes of a file (or pipe) of at most 1 GiB; "-" is standard input. Error(Data) names the path.
[[nodiscard]] std::string read_file(const std::filesystem::path& path);

// Error(Data) "WHAT: not valid UTF-8 at byte N" unless `text` is well formed.
void require_utf8(std::string_view text, std::string_view what);

}  // namespace thinkey
