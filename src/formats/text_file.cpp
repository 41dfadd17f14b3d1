#include "formats/text_file.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <system_error>

#include "base/fail.h"
#include "base/format_text.h"
#include "formats/printable.h"

namespace thinkey {
namespace {

struct CloseFile {
  void operator()(std::FILE* file) const noexcept {
    if (file != stdin) std::fclose(file);  // NOLINT(cert-err33-c): opened for reading
  }
};

// What the system says a regular file has; 0 for pipes and devices, which are counted as they are read.
std::size_t stated_size(std::FILE* file) {
  struct stat info = {};
  return ::fstat(::fileno(file), &info) == 0 && S_ISREG(info.st_mode) ? static_cast<std::size_t>(info.st_size)
                                                                      : 0;
}

}  // namespace

std::string read_file(const std::filesystem::path& path, const TextLimit& limit) {
  const bool standard = path == "-";
  const std::string shown = standard ? "standard input" : path.string();
  errno = 0;
  const std::unique_ptr<std::FILE, CloseFile> file(standard ? stdin : std::fopen(path.c_str(), "rb"));
  if (!file) fail_data("{}: cannot open: {}", shown, std::generic_category().message(errno));
  const auto check = [&](std::size_t size) {
    if (size > limit.bytes)
      fail_data("{}: more than {} of text{}", shown, format_bytes(limit.bytes), limit.why);
  };
  const std::size_t stated = stated_size(file.get());
  check(stated);

  std::string bytes;
  bytes.reserve(stated);
  std::array<char, std::size_t{1} << 16U> block;
  while (true) {
    errno = 0;
    const std::size_t n = std::fread(block.data(), 1, block.size(), file.get());
    bytes.append(block.data(), n);
    check(bytes.size());
    if (n == block.size()) continue;
    if (std::ferror(file.get()) != 0) {
      if (errno == EINTR) {
        std::clearerr(file.get());
        continue;
      }
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
