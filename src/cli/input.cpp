#include "cli/input.h"

#include <charconv>
#include <system_error>

#include "base/fail.h"
#include "formats/printable.h"

namespace thinkey::cli {

namespace {

bool is_space(char c) noexcept { return c == ' ' || (c >= '\t' && c <= '\r'); }

}  // namespace

std::string read_text(const std::filesystem::path& path, const TextLimit& limit) {
  constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
  std::string text = read_file(path, limit);
  require_utf8(text, path == "-" ? "standard input" : path.string());
  if (text.starts_with(kByteOrderMark)) text.erase(0, kByteOrderMark.size());
  return text;
}

std::vector<std::int32_t> read_ids(const std::filesystem::path& path, std::size_t vocabulary) {
  const std::string text = read_file(path);
  std::vector<std::int32_t> ids;
  std::size_t line = 1;
  std::size_t word = 0;  // within the line
  std::size_t at = 0;
  while (at < text.size()) {
    if (is_space(text[at])) {
      if (text[at] == '\n') {
        ++line;
        word = 0;
      }
      ++at;
      continue;
    }
    std::size_t end = at;
    while (end < text.size() && !is_space(text[end])) ++end;
    ++word;
    std::int32_t id = 0;
    const auto [stop, error] = std::from_chars(text.data() + at, text.data() + end, id);
    const std::string shown = printable(std::string_view(text).substr(at, end - at), 40);
    if (error != std::errc() || stop != text.data() + end) {
      fail_data("{}: line {}, word {}: \"{}\" is not a token id", path.string(), line, word, shown);
    }
    if (id < 0 || static_cast<std::size_t>(id) >= vocabulary) {
      fail_data("{}: line {}, word {}: token id {} is outside the vocabulary of {}", path.string(), line,
                word, id, vocabulary);
    }
    ids.push_back(id);
    at = end;
  }
  if (ids.empty()) fail_data("{}: holds no token ids", path.string());
  return ids;
}

}  // namespace thinkey::cli
