// Text from files and standard input, checked.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>

namespace thinkey {

// The most bytes of text that are read, and what an error says after naming them.
struct TextLimit {
  std::size_t bytes = std::size_t{1} << 30U;  // /dev/zero ends somewhere, too
  std::string why = {};
};

// The bytes of a file or pipe; "-" is standard input. Error(Data) names the path; a file that is too large is
// refused before it is read.
[[nodiscard]] std::string read_file(const std::filesystem::path& path, const TextLimit& limit = {});

// Error(Data) "WHAT: not valid UTF-8 at byte N" unless `text` is well formed.
void require_utf8(std::string_view text, std::string_view what);

}  // namespace thinkey
