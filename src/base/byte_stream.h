// Plain values into a file and out of a mapped one, every read checked.
#pragma once

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "base/atomic_file.h"
#include "base/fail.h"

namespace thinkey {

static_assert(std::endian::native == std::endian::little, "cache files are written as memory lies");

class ByteWriter {
 public:
  explicit ByteWriter(AtomicFile& file) : file_(file) { XXH3_64bits_reset(&state_); }

  void bytes(std::span<const std::byte> data) {
    XXH3_64bits_update(&state_, data.data(), data.size());
    file_.write(data);
  }
  template <typename T>
  void value(const T& x) {
    static_assert(std::is_arithmetic_v<T>);
    bytes(std::as_bytes(std::span(&x, 1)));
  }
  // Length (u64), then the elements.
  template <typename T>
  void array(std::span<const T> x) {
    value(static_cast<std::uint64_t>(x.size()));
    bytes(std::as_bytes(x));
  }
  [[nodiscard]] std::uint64_t digest() const { return XXH3_64bits_digest(&state_); }

 private:
  AtomicFile& file_;
  XXH3_state_t state_;
};

class ByteReader {
 public:
  ByteReader(std::span<const std::byte> data, std::string name) : data_(data), name_(std::move(name)) {}

  [[nodiscard]] std::span<const std::byte> bytes(std::size_t n) {
    if (n > data_.size() - at_) damaged("it ends too early");
    at_ += n;
    return data_.subspan(at_ - n, n);
  }
  template <typename T>
  [[nodiscard]] T value() {
    T x;
    std::memcpy(&x, bytes(sizeof(T)).data(), sizeof(T));
    return x;
  }
  // At most `most` elements.
  template <typename T>
  [[nodiscard]] std::vector<T> array(std::size_t most) {
    const auto n = value<std::uint64_t>();
    if (n > most || n > (data_.size() - at_) / sizeof(T)) damaged("a table is longer than it can be");
    std::vector<T> x(n);
    if (n > 0) std::memcpy(x.data(), bytes(n * sizeof(T)).data(), n * sizeof(T));
    return x;
  }
  [[nodiscard]] bool at_end() const noexcept { return at_ == data_.size(); }
  [[nodiscard]] std::size_t left() const noexcept { return data_.size() - at_; }

  [[noreturn]] void damaged(const char* what) const {
    fail_data("{}: damaged cache file: {}; save it again", name_, what);
  }

 private:
  std::span<const std::byte> data_;
  std::size_t at_ = 0;
  std::string name_;
};

}  // namespace thinkey
