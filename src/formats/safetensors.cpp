#include "formats/safetensors.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>

#include "base/fail.h"
#include "base/half.h"
#include "formats/checked.h"
#include "formats/json.h"
#include "formats/printable.h"

namespace thinkey {
namespace {

static_assert(std::endian::native == std::endian::little, "tensors are mapped as they lie, little-endian");

constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;  // the reference implementation's limit
constexpr std::size_t kLengthBytes = 8;
constexpr std::size_t kMaxRank = 16;

struct TypeTraits {
  std::string_view name;
  std::size_t bits;
};

// In the order of SafetensorsType.
constexpr std::array<TypeTraits, 22> kTypes{{
    {"BOOL", 8},    {"F4", 4},      {"F6_E2M3", 6}, {"F6_E3M2", 6},     {"U8", 8},          {"I8", 8},
    {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8}, {"I16", 16},
    {"U16", 16},    {"F16", 16},    {"BF16", 16},   {"I32", 32},        {"U32", 32},        {"F32", 32},
    {"C64", 64},    {"F64", 64},    {"I64", 64},    {"U64", 64},
}};

// The header's text: bytes [8, 8 + length).
std::string_view header_text(std::span<const std::byte> file, const std::filesystem::path& path) {
  if (file.size() < kLengthBytes) fail_data("{}: too short for a safetensors file", path.string());
  std::uint64_t length = 0;
  std::memcpy(&length, file.data(), kLengthBytes);
  if (length > kMaxHeaderBytes || length > file.size() - kLengthBytes) {
    fail_data("{}: not a safetensors file, or cut off: a header of {} bytes in a file of {}", path.string(),
              length, file.size());
  }
  return {reinterpret_cast<const char*>(file.data()) + kLengthBytes, static_cast<std::size_t>(length)};
}

std::map<std::string, std::string> read_metadata(const Json& json, const std::filesystem::path& path) {
  if (!json.is_object()) fail_data("{}: __metadata__ is not an object", path.string());
  std::map<std::string, std::string> metadata;
  for (const auto& [key, value] : json.items()) {
    if (!value.is_string()) {
      fail_data("{}: __metadata__ \"{}\" is not a string", path.string(), printable(key));
    }
    metadata.emplace(key, value.get<std::string>());
  }
  return metadata;
}

// One header entry; `data` are the bytes after the header.
SafetensorsTensor read_entry(const std::string& name, const Json& json, std::span<const std::byte> data,
                             const std::filesystem::path& path) {
  const std::string shown = printable(name);
  const auto refuse = [&](std::string_view reason) {
    fail_data("{}: tensor {}: {}", path.string(), shown, reason);
  };
  if (!json.is_object()) refuse("its header entry is not an object");
  const auto dtype = json.find("dtype");
  const auto shape = json.find("shape");
  const auto offsets = json.find("data_offsets");
  if (json.size() != 3 || dtype == json.end() || shape == json.end() || offsets == json.end()) {
    refuse("its header entry must have dtype, shape and data_offsets, nothing else");
  }
  if (!dtype->is_string()) refuse("dtype is not a string");
  const auto type = safetensors_type(dtype->get_ref<const std::string&>());
  if (!type) refuse("unknown dtype " + printable(dtype->get_ref<const std::string&>()));

  SafetensorsTensor tensor{.name = name, .type = *type, .shape = {}, .bytes = {}};
  if (!shape->is_array() || shape->size() > kMaxRank) refuse("shape is not a short list");
  std::uint64_t total_bits = bits(*type);
  for (const Json& extent : *shape) {
    const auto size = as_integer(extent);
    if (!size || *size < 0) refuse("shape holds something that is not a size");
    const auto product = checked_multiply(total_bits, static_cast<std::uint64_t>(*size));
    if (!product) refuse("shape is too large");
    total_bits = *product;
    tensor.shape.push_back(*size);
  }
  if (!offsets->is_array() || offsets->size() != 2) refuse("data_offsets is not a pair");
  const auto begin = as_integer((*offsets)[0]);
  const auto end = as_integer((*offsets)[1]);
  if (!begin || !end || *begin < 0 || *end < *begin || static_cast<std::uint64_t>(*end) > data.size()) {
    refuse("data_offsets lie outside the file (is it cut off?)");
  }
  const auto length = static_cast<std::uint64_t>(*end - *begin);
  if (total_bits % 8 != 0 || length != total_bits / 8) refuse("data_offsets disagree with dtype and shape");
  tensor.bytes = data.subspan(static_cast<std::size_t>(*begin), static_cast<std::size_t>(length));
  return tensor;
}

template <typename T, typename Out>
std::vector<Out> convert(const SafetensorsTensor& tensor) {
  std::vector<Out> out(tensor.elements());
  for (std::size_t i = 0; i < out.size(); ++i) {
    T value;
    std::memcpy(&value, tensor.bytes.data() + i * sizeof(T), sizeof(T));
    if constexpr (std::is_same_v<T, std::uint64_t> && std::is_same_v<Out, std::int64_t>) {
      if (value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
        fail_data("tensor {}: element {} does not fit into 64 bits with sign", printable(tensor.name), i);
      }
    }
    out[i] = static_cast<Out>(+value);  // promoted first: int8_t is a character type
  }
  return out;
}

template <typename Half>
std::vector<float> convert_half(const SafetensorsTensor& tensor, float (*widen)(Half)) {
  std::vector<float> out(tensor.elements());
  for (std::size_t i = 0; i < out.size(); ++i) {
    Half half;
    std::memcpy(&half, tensor.bytes.data() + i * sizeof(half), sizeof(half));
    out[i] = widen(half);
  }
  return out;
}

// Integer types to Out; nullopt for all others.
template <typename Out>
std::optional<std::vector<Out>> convert_integers(const SafetensorsTensor& tensor) {
  switch (tensor.type) {
    case SafetensorsType::Bool:
    case SafetensorsType::U8:
      return convert<std::uint8_t, Out>(tensor);
    case SafetensorsType::I8:
      return convert<std::int8_t, Out>(tensor);
    case SafetensorsType::U16:
      return convert<std::uint16_t, Out>(tensor);
    case SafetensorsType::I16:
      return convert<std::int16_t, Out>(tensor);
    case SafetensorsType::U32:
      return convert<std::uint32_t, Out>(tensor);
    case SafetensorsType::I32:
      return convert<std::int32_t, Out>(tensor);
    case SafetensorsType::U64:
      return convert<std::uint64_t, Out>(tensor);
    case SafetensorsType::I64:
      return convert<std::int64_t, Out>(tensor);
    default:
      return std::nullopt;
  }
}

}  // namespace

std::string_view name(SafetensorsType type) noexcept { return kTypes[static_cast<std::size_t>(type)].name; }

std::size_t bits(SafetensorsType type) noexcept { return kTypes[static_cast<std::size_t>(type)].bits; }

std::optional<SafetensorsType> safetensors_type(std::string_view name) noexcept {
  const auto* const found =
      std::find_if(kTypes.begin(), kTypes.end(), [&](const auto& t) { return t.name == name; });
  if (found == kTypes.end()) return std::nullopt;
  return static_cast<SafetensorsType>(found - kTypes.begin());
}

std::size_t SafetensorsTensor::elements() const noexcept { return bytes.size() * 8 / bits(type); }

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path) : file_(path) {
  const std::string_view header = header_text(file_.bytes(), path);
  const std::span<const std::byte> data = file_.bytes().subspan(kLengthBytes + header.size());
  const Json json = parse_json(header, path, "safetensors header", 4);
  if (!json.is_object()) fail_data("{}: safetensors header is not an object", path.string());
  for (const auto& [name, entry] : json.items()) {
    if (name == "__metadata__") {
      metadata_ = read_metadata(entry, path);
    } else {
      tensors_.push_back(read_entry(name, entry, data, path));
    }
  }
  // Empty tensors share their offset with the next one: by end, then, for equal offsets.
  std::sort(tensors_.begin(), tensors_.end(), [](const auto& a, const auto& b) {
    return std::pair(a.bytes.data(), a.bytes.size()) < std::pair(b.bytes.data(), b.bytes.size());
  });
  const std::byte* expected = data.data();
  for (const SafetensorsTensor& tensor : tensors_) {
    if (tensor.bytes.data() != expected) {
      fail_data("{}: tensor {}: its data overlap others or leave a gap", path.string(),
                printable(tensor.name));
    }
    expected += tensor.bytes.size();
    index_.emplace(tensor.name, index_.size());
  }
  if (expected != data.data() + data.size()) {
    fail_data("{}: bytes after the last tensor's data belong to no tensor", path.string());
  }
}

const SafetensorsTensor* SafetensorsFile::find(std::string_view name) const noexcept {
  const auto found = index_.find(std::string(name));
  return found == index_.end() ? nullptr : &tensors_[found->second];
}

const SafetensorsTensor& SafetensorsFile::at(std::string_view name) const {
  const SafetensorsTensor* tensor = find(name);
  if (tensor == nullptr) fail_data("{}: there is no tensor {}", path().string(), printable(name));
  return *tensor;
}

std::vector<float> to_floats(const SafetensorsTensor& tensor) {
  switch (tensor.type) {
    case SafetensorsType::F32:
      return convert<float, float>(tensor);
    case SafetensorsType::F64:
      return convert<double, float>(tensor);
    case SafetensorsType::F16:
      return convert_half(tensor, f32_from_f16);
    case SafetensorsType::BF16:
      return convert_half(tensor, f32_from_bf16);
    default:
      break;
  }
  auto out = convert_integers<float>(tensor);
  if (!out) {
    fail_data("tensor {}: dtype {} cannot be read as floats", printable(tensor.name), name(tensor.type));
  }
  return *std::move(out);
}

std::vector<std::int64_t> to_integers(const SafetensorsTensor& tensor) {
  auto out = convert_integers<std::int64_t>(tensor);
  if (!out) {
    fail_data("tensor {}: dtype {} is not an integer type", printable(tensor.name), name(tensor.type));
  }
  return *std::move(out);
}

}  // namespace thinkey
