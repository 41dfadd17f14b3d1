// Reading GGUF's primitive values with every access checked.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/fail.h"
#include "formats/gguf.h"

namespace thinkey {

// Bytes of a number or Bool; 0 for String and Array, whose length is in the file.
[[nodiscard]] constexpr std::size_t gguf_fixed_bytes(GgufType type) noexcept {
  switch (type) {
    case GgufType::U8:
    case GgufType::I8:
    case GgufType::Bool:
      return 1;
    case GgufType::U16:
    case GgufType::I16:
      return 2;
    case GgufType::U32:
    case GgufType::I32:
    case GgufType::F32:
      return 4;
    case GgufType::U64:
    case GgufType::I64:
    case GgufType::F64:
      return 8;
    default:
      return 0;
  }
}

[[nodiscard]] inline std::string_view as_text(std::span<const std::byte> bytes) noexcept {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

template <typename T>
[[nodiscard]] T load(std::span<const std::byte> bytes) noexcept {
  T value{};
  std::memcpy(&value, bytes.data(), sizeof(T));
  return value;
}

// An integer of any width; nullopt for other types and for a U64 that exceeds int64.
[[nodiscard]] inline std::optional<std::int64_t> gguf_integer(GgufType type,
                                                              std::span<const std::byte> bytes) {
  switch (type) {
    case GgufType::U8:
      return load<std::uint8_t>(bytes);
    case GgufType::I8:
      return load<std::int8_t>(bytes);
    case GgufType::U16:
      return load<std::uint16_t>(bytes);
    case GgufType::I16:
      return load<std::int16_t>(bytes);
    case GgufType::U32:
      return load<std::uint32_t>(bytes);
    case GgufType::I32:
      return load<std::int32_t>(bytes);
    case GgufType::I64:
      return load<std::int64_t>(bytes);
    case GgufType::U64: {
      const auto value = load<std::uint64_t>(bytes);
      if (value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) return std::nullopt;
      return static_cast<std::int64_t>(value);
    }
    default:
      return std::nullopt;
  }
}

// A float or an integer; nullopt for other types.
[[nodiscard]] inline std::optional<double> gguf_number(GgufType type, std::span<const std::byte> bytes) {
  if (type == GgufType::F32) return static_cast<double>(load<float>(bytes));
  if (type == GgufType::F64) return load<double>(bytes);
  const auto integer = gguf_integer(type, bytes);
  if (!integer) return std::nullopt;
  return static_cast<double>(*integer);
}

// A position in the file. Whatever would pass the end throws Error(Data).
class GgufCursor {
 public:
  GgufCursor(std::span<const std::byte> bytes, const std::filesystem::path& path)
      : bytes_(bytes), path_(&path) {}

  [[nodiscard]] std::size_t position() const noexcept { return position_; }
  [[nodiscard]] std::size_t remaining() const noexcept { return bytes_.size() - position_; }
  [[nodiscard]] std::span<const std::byte> since(std::size_t begin) const noexcept {
    return bytes_.subspan(begin, position_ - begin);
  }

  std::span<const std::byte> take(std::uint64_t count, std::string_view what) {
    if (count > remaining()) {
      fail(fmt::format("{} of {} bytes at byte {} goes past the end of the file (is it cut off?)", what,
                       count, position_));
    }
    const auto taken = bytes_.subspan(position_, static_cast<std::size_t>(count));
    position_ += static_cast<std::size_t>(count);
    return taken;
  }

  template <typename T>
  [[nodiscard]] T number(std::string_view what) {
    return load<T>(take(sizeof(T), what));
  }

  [[nodiscard]] std::string text(std::string_view what, std::uint64_t max_bytes) {
    const auto length = number<std::uint64_t>(what);
    if (length > max_bytes) fail(fmt::format("{} at byte {} claims {} bytes", what, position_, length));
    return std::string(as_text(take(length, what)));
  }

  [[nodiscard]] GgufType type() {
    const auto value = number<std::uint32_t>("a value's type");
    if (value > static_cast<std::uint32_t>(GgufType::F64)) {
      fail(fmt::format("unknown metadata type {} before byte {}", value, position_));
    }
    return static_cast<GgufType>(value);
  }

  [[noreturn]] void fail(std::string_view reason) const { fail_data("{}: {}", path_->string(), reason); }

 private:
  std::span<const std::byte> bytes_;
  const std::filesystem::path* path_;
  std::size_t position_ = 0;
};

}  // namespace thinkey
