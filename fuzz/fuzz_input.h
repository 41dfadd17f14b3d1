// What fuzz targets share.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string>
#include <string_view>

#include "base/fail.h"
#include "base/parallel.h"

namespace thinkey::fuzz {

inline std::string_view text_of(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

// The pool's threads would only be woken and put to sleep: inputs are small.
inline void use_one_thread() {
  static const bool once = (set_threads(1), true);
  static_cast<void>(once);
}

// A property that must hold does not.
#define FUZZ_REQUIRE(condition)                                                    \
  do {                                                                             \
    if (!(condition)) {                                                            \
      std::fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                \
    }                                                                              \
  } while (false)

// Takes numbers from the front of an input; zeros when there are no more.
class Numbers {
 public:
  Numbers(const std::uint8_t* data, std::size_t size) : data_(data, size) {}
  std::uint8_t byte() {
    if (data_.empty()) return 0;
    const std::uint8_t x = data_.front();
    data_ = data_.subspan(1);
    return x;
  }
  // In [least, most].
  std::size_t within(std::size_t least, std::size_t most) { return least + byte() % (most - least + 1); }
  // Up to a line break, which is taken, too.
  std::string line() {
    std::string out;
    while (!data_.empty()) {
      const char c = static_cast<char>(byte());
      if (c == '\n') break;
      out += c;
    }
    return out;
  }
  [[nodiscard]] std::span<const std::uint8_t> rest() const { return data_; }

 private:
  std::span<const std::uint8_t> data_;
};

// A file in memory that the library opens by its path.
class MemoryFile {
 public:
  explicit MemoryFile(std::string_view bytes) : fd_(::memfd_create("fuzz", MFD_CLOEXEC)) {
    FUZZ_REQUIRE(fd_ >= 0);
    for (std::size_t at = 0; at < bytes.size();) {
      const ssize_t n = ::write(fd_, bytes.data() + at, bytes.size() - at);
      FUZZ_REQUIRE(n > 0);
      at += static_cast<std::size_t>(n);
    }
    path_ = "/proc/self/fd/" + std::to_string(fd_);
  }
  ~MemoryFile() { ::close(fd_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  int fd_;
  std::string path_;
};

// Runs `body`; an Error is what bad input is answered with. Its message must be one line of reasonable
// length.
template <typename Body>
bool accepted(const Body& body) {
  try {
    body();
    return true;
  } catch (const Error& error) {
    FUZZ_REQUIRE(std::string_view(error.what()).size() < 4096);
    return false;
  }
}

}  // namespace thinkey::fuzz
