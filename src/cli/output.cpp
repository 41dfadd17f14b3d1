#include "cli/output.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <system_error>

#include "base/fail.h"

namespace thinkey::cli {

namespace {

// The first failure's errno: later ones follow from it and say less.
int first_reason = 0;

[[noreturn]] void fail_output() {
  if (first_reason == 0) first_reason = errno;
  fail_data("cannot write to standard output: {}", std::generic_category().message(first_reason));
}

}  // namespace

void write_output(std::string_view text) {
  errno = 0;
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size()) fail_output();
}

void flush_output() {
  errno = 0;
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) fail_output();
}

void write_message(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stderr);
  std::fflush(stderr);
}

std::string one_line(std::string_view text) {
  std::string line(text);
  for (char& c : line) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = ' ';
  }
  return line;
}

void require_writable(const std::filesystem::path& path, std::string_view option) {
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  if (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status)) {
    fail_data("{}: not a regular file; name the file to write with {}", path.string(), option);
  }
  std::filesystem::path directory = path.parent_path();
  if (directory.empty()) directory = ".";
  if (::access(directory.c_str(), W_OK | X_OK) != 0) {
    const int reason = errno;
    fail_data("{}: cannot write there: {}; name another file with {}", path.string(),
              std::generic_category().message(reason), option);
  }
}

}  // namespace thinkey::cli
