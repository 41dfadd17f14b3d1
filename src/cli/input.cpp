#include "cli/input.h"

#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <memory>
#include <system_error>

#include "base/fail.h"
#include "formats/printable.h"

namespace thinkey::cli {

namespace {

constexpr std::size_t kMostBytes = std::size_t{1} << 30U;  // /dev/zero ends somewhere, too

struct CloseFile {
  void operator()(std::FILE* file) const noexcept {
    if (file != stdin) std::fclose(file);  // NOLINT(cert-err33-c): opened for reading
  }
};

bool is_space(char c) noexcept { return c == ' ' || (c >= '\t' && c <= '\r'); }

}  // namespace

std::string read_file(const std::filesystem::path& path) {
  const bool standard = path == "-";
  const std::string shown = standard ? "standard input" : path.string();
  errno = 0;
  const std::unique_ptr<std::FILE, CloseFile> file(standard ? stdin : std::fopen(path.c_str(), "rb"));
  if (!file) fail_data("{}: cannot open: {}", shown, std::generic_category().message(errno));

  std::string bytes;
  std::array<char, std::size_t{1} << 16U> block;
  while (true) {
    errno = 0;
    const std::size_t n = std::fread(block.data(), 1, block.size(), file.get());
    bytes.append(block.data(), n);
    if (bytes.size() > kMostBytes) fail_data("{}: more than 1 GiB of text", shown);
    if (n == block.size()) continue;
    if (std::ferror(file.get()) != 0) {
      fail_data("{}: cannot read: {}", shown, std::generic_category().message(errno));
    }
    return bytes;
  }
}

void require_utf8(std::string_view text, std::string_view what) {
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t length = static_cast<unsigned char>(text[at]) < 0x80 ? 1 : utf8_length(text.substr(at));
    if (length == 0) {
      fail_data("{}: not valid UTF-8 at byte {} (0x{:02x}); convert it to UTF-8 first", what, at,
                static_cast<unsigned char>(text[at]));
    }
    at += length;
  }
}

std::vector<std::int32_t> read_ids(const std::filesystem::path& path, std::int64_t vocabulary) {
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
    if (id < 0 || id >= vocabulary) {
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
