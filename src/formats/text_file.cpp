#include "formats/text_file.h"

#include <array>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <system_error>

#include "base/fail.h"
#include "formats/printable.h"

namespace thinkey {
namespace {

constexpr std::size_t kMostBytes = std::size_t{1} << 30U;  // /dev/zero ends somewhere, too

struct CloseFile {
  void operator()(std::FILE* file) const noexcept {
    if (file != stdin) std::fclose(file);  // NOLINT(cert-err33-c): opened for reading
  }
};

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

}  // namespace thinkey
