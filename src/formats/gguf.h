// The GGUF container, versions 2 and 3, little-endian
// (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md): typed key-value metadata, a tensor directory,
// and aligned tensor data.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/mapped_file.h"
#include "formats/model_file.h"

namespace thinkey {

// Numbered as in the file.
enum class GgufType : std::uint32_t { U8, I8, U16, I16, U32, I32, F32, Bool, String, Array, U64, I64, F64 };

// A metadata value as it lies in the mapped file, already checked to be inside it.
struct GgufValue {
  std::string key;
  GgufType type = GgufType::U8;
  GgufType element_type = GgufType::U8;  // of an Array
  std::uint64_t count = 0;               // elements of an Array
  std::span<const std::byte> bytes;      // a number, a string's characters, or an array's elements
};

// A tensor as the directory describes it; its data need not be of a type that we can read.
struct GgufTensor {
  std::string name;
  std::vector<std::uint64_t> extents;  // innermost first: columns, rows, ...; all at least 1
  std::uint32_t type = 0;              // ggml's number
  std::uint64_t offset = 0;            // from the start of the data section
};

// One file, mapped and parsed. Every typed getter returns nullopt for an absent key and throws
// Error(Data) naming file and key when the value has another type.
class GgufFile {
 public:
  explicit GgufFile(const std::filesystem::path& path);

  [[nodiscard]] std::uint32_t version() const noexcept { return version_; }
  [[nodiscard]] const std::filesystem::path& path() const noexcept { return file_.path(); }
  [[nodiscard]] std::size_t file_bytes() const noexcept { return file_.bytes().size(); }
  [[nodiscard]] const std::vector<GgufValue>& values() const noexcept { return values_; }  // in file order
  [[nodiscard]] const std::vector<GgufTensor>& tensors() const noexcept { return tensors_; }

  [[nodiscard]] const GgufValue* find(const std::string& key) const noexcept;
  [[nodiscard]] std::optional<std::int64_t> integer(const std::string& key) const;  // any integer type
  [[nodiscard]] std::optional<double> number(const std::string& key) const;         // any number type
  [[nodiscard]] std::optional<bool> boolean(const std::string& key) const;
  [[nodiscard]] std::optional<std::string> text(const std::string& key) const;
  [[nodiscard]] std::optional<std::vector<std::string>> texts(const std::string& key) const;
  [[nodiscard]] std::optional<std::vector<std::int64_t>> integers(const std::string& key) const;
  [[nodiscard]] std::optional<std::vector<double>> numbers(const std::string& key) const;

  // Where a tensor's data lie. Throws Error(Data) for element types that thinkey cannot read, more than
  // three dimensions, and data outside the file.
  [[nodiscard]] Tensor locate(const GgufTensor& tensor) const;

  // Throws Error(Data) when the data of two tensors overlap.
  void check_overlap(std::vector<Tensor> located) const;

 private:
  void check_type(const GgufValue& value, bool right, std::string_view wanted) const;

  MappedFile file_;
  std::uint32_t version_ = 0;
  std::uint64_t alignment_ = 32;
  std::span<const std::byte> data_;  // the data section
  std::vector<GgufValue> values_;
  std::vector<GgufTensor> tensors_;
  std::unordered_map<std::string, std::size_t> index_;  // key -> position in values_
};

// A value for `inspect`: one line, long arrays and texts shortened.
[[nodiscard]] std::string printable(const GgufValue& value);

// Opens a .gguf file as a model. Throws Error(Data).
[[nodiscard]] std::unique_ptr<ModelFile> open_gguf_model(const std::filesystem::path& path);

// The tokenizer's tables of an open file; no tokens when it has none. Throws Error(Data).
[[nodiscard]] TokenizerData read_vocabulary(const GgufFile& file);

}  // namespace thinkey
