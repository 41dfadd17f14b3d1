// The safetensors container (https://github.com/huggingface/safetensors): a length, a JSON header
// and raw little-endian tensors. Reader over a mapped file, and an atomic writer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/mapped_file.h"

namespace thinkey {

// Element types of the format. The F4 and F6 types are packed: several elements share a byte.
enum class SafetensorsType : std::uint8_t {
  Bool,
  F4,
  F6_E2M3,
  F6_E3M2,
  U8,
  I8,
  F8_E5M2,
  F8_E4M3,
  F8_E8M0,
  F8_E4M3FNUZ,
  F8_E5M2FNUZ,
  I16,
  U16,
  F16,
  BF16,
  I32,
  U32,
  F32,
  C64,
  F64,
  I64,
  U64
};

[[nodiscard]] std::string_view name(SafetensorsType type) noexcept;  // as in the header: "BF16"
[[nodiscard]] std::size_t bits(SafetensorsType type) noexcept;       // per element
[[nodiscard]] std::optional<SafetensorsType> safetensors_type(std::string_view name) noexcept;

struct SafetensorsTensor {
  std::string name;
  SafetensorsType type = SafetensorsType::F32;
  std::vector<std::int64_t> shape;   // outermost first; empty: a scalar
  std::span<const std::byte> bytes;  // row-major; no alignment promised

  [[nodiscard]] std::size_t elements() const noexcept;
};

// One file, mapped. The tensors' bytes live as long as this object.
class SafetensorsFile {
 public:
  // Throws Error(Data) unless the header is well formed and the tensors tile the rest of the file
  // without gap or overlap, as the reference implementation demands.
  explicit SafetensorsFile(const std::filesystem::path& path);

  [[nodiscard]] const std::vector<SafetensorsTensor>& tensors() const noexcept {
    return tensors_;
  }                                                                                   // by offset
  [[nodiscard]] const SafetensorsTensor* find(std::string_view name) const noexcept;  // or nullptr
  [[nodiscard]] const SafetensorsTensor& at(std::string_view name) const;  // Error(Data) when there is none
  [[nodiscard]] const std::map<std::string, std::string>& metadata() const noexcept { return metadata_; }
  [[nodiscard]] const std::filesystem::path& path() const noexcept { return file_.path(); }
  [[nodiscard]] std::size_t file_bytes() const noexcept { return file_.bytes().size(); }

 private:
  MappedFile file_;
  std::vector<SafetensorsTensor> tensors_;
  std::unordered_map<std::string, std::size_t> index_;  // name -> position in tensors_
  std::map<std::string, std::string> metadata_;
};

// A tensor's elements as f32, from F64, F32, F16, BF16 or any integer type. Error(Data) for other types.
[[nodiscard]] std::vector<float> to_floats(const SafetensorsTensor& tensor);

// A tensor's elements as integers, from Bool and I/U 8..64. Error(Data) for other types, or when a
// U64 does not fit.
[[nodiscard]] std::vector<std::int64_t> to_integers(const SafetensorsTensor& tensor);

// Writes `tensors` (their bytes must have the size that type and shape ask for) so that a reader
// sees the old file or the whole new one: a temporary file in the same directory, synced, then
// renamed. Widest elements go first, so that every tensor is aligned to its element. Throws
// Error(Data) when the tensors are inconsistent or the system refuses; the temporary is removed.
void write_safetensors(const std::filesystem::path& path, std::span<const SafetensorsTensor> tensors,
                       const std::map<std::string, std::string>& metadata = {});

}  // namespace thinkey
