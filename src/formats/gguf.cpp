#include "formats/gguf.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <utility>

#include "base/fail.h"
#include "formats/checked.h"
#include "formats/gguf_cursor.h"
#include "formats/printable.h"

namespace thinkey {
namespace {

static_assert(std::endian::native == std::endian::little, "files are mapped as they lie, little-endian");

constexpr std::uint32_t kMagic = 0x46554747;  // "GGUF"
constexpr std::uint64_t kMaxKeyBytes = 65535;
constexpr std::uint64_t kMaxNameBytes = 255;
constexpr std::uint32_t kMaxRank = 4;
constexpr std::uint64_t kMaxAlignment = 65536;
constexpr int kMaxArrayDepth = 8;
// The fewest bytes an entry can take: what bounds a count that the file merely claims.
constexpr std::uint64_t kLeastValueBytes = 8 + 4 + 1;
constexpr std::uint64_t kLeastTensorBytes = 8 + 4 + 8 + 4 + 8;

// Names of ggml's tensor types by number; empty where a number is not in use.
constexpr std::array<std::string_view, 42> kTypeNames{
    "F32",   "F16",    "Q4_0",  "Q4_1", "",     "",        "Q5_0",   "Q5_1",    "Q8_0",  "Q8_1",   "Q2_K",
    "Q3_K",  "Q4_K",   "Q5_K",  "Q6_K", "Q8_K", "IQ2_XXS", "IQ2_XS", "IQ3_XXS", "IQ1_S", "IQ4_NL", "IQ3_S",
    "IQ2_S", "IQ4_XS", "I8",    "I16",  "I32",  "I64",     "F64",    "IQ1_M",   "BF16",  "",       "",
    "",      "TQ1_0",  "TQ2_0", "",     "",     "",        "MXFP4",  "NVFP4",   "Q1_0"};

// Parses a value after its type has been read, checking that all of it is there.
void read_value(GgufCursor& cursor, GgufValue& value, int depth) {
  const std::size_t fixed = gguf_fixed_bytes(value.type);
  if (fixed != 0) {
    value.bytes = cursor.take(fixed, "a value");
  } else if (value.type == GgufType::String) {
    value.bytes = cursor.take(cursor.number<std::uint64_t>("a string's length"), "a string");
  } else {
    value.element_type = cursor.type();
    value.count = cursor.number<std::uint64_t>("an array's length");
    const std::size_t begin = cursor.position();
    const std::size_t element = gguf_fixed_bytes(value.element_type);
    if (element != 0) {
      const auto bytes = checked_multiply(value.count, element);
      if (!bytes) cursor.fail("an array is too long");
      cursor.take(*bytes, "an array");
    } else {
      if (value.element_type == GgufType::Array && depth >= kMaxArrayDepth) {
        cursor.fail("arrays are nested too deeply");
      }
      // Each element takes at least its length field, so a false count ends at the end of the file.
      for (std::uint64_t i = 0; i < value.count; ++i) {
        GgufValue inner{
            .key = {}, .type = value.element_type, .element_type = GgufType::U8, .count = 0, .bytes = {}};
        read_value(cursor, inner, depth + 1);
      }
    }
    value.bytes = cursor.since(begin);
  }
}

GgufTensor read_tensor(GgufCursor& cursor) {
  GgufTensor tensor;
  tensor.name = cursor.text("a tensor's name", kMaxNameBytes);
  const auto rank = cursor.number<std::uint32_t>("a tensor's rank");
  if (rank == 0 || rank > kMaxRank) {
    cursor.fail(fmt::format("tensor {} has {} dimensions", printable(tensor.name), rank));
  }
  for (std::uint32_t i = 0; i < rank; ++i) {
    tensor.extents.push_back(cursor.number<std::uint64_t>("a tensor's shape"));
    if (tensor.extents.back() == 0) {
      cursor.fail(fmt::format("tensor {} has a zero extent", printable(tensor.name)));
    }
  }
  tensor.type = cursor.number<std::uint32_t>("a tensor's type");
  tensor.offset = cursor.number<std::uint64_t>("a tensor's offset");
  return tensor;
}

}  // namespace

GgufFile::GgufFile(const std::filesystem::path& path) : file_(path) {
  GgufCursor cursor(file_.bytes(), path);
  if (file_.bytes().size() < sizeof(kMagic) || cursor.number<std::uint32_t>("the magic") != kMagic) {
    fail_data("{}: not a GGUF file (and not a directory with a Hugging Face model)", path.string());
  }
  version_ = cursor.number<std::uint32_t>("the version");
  if (version_ != 0 && (version_ & 0xFFFFU) == 0) {
    cursor.fail("is a big-endian GGUF file; convert it again as little-endian");
  }
  if (version_ != 2 && version_ != 3) {
    cursor.fail(
        fmt::format("GGUF version {} is not supported (2 and 3 are); convert the model again", version_));
  }
  const auto tensor_count = cursor.number<std::uint64_t>("the tensor count");
  const auto value_count = cursor.number<std::uint64_t>("the metadata count");
  if (value_count > cursor.remaining() / kLeastValueBytes ||
      tensor_count > cursor.remaining() / kLeastTensorBytes) {
    cursor.fail(fmt::format(
        "claims {} metadata entries and {} tensors, more than fit into its {} bytes (is it cut off?)",
        value_count, tensor_count, file_.bytes().size()));
  }
  for (std::uint64_t i = 0; i < value_count; ++i) {
    GgufValue value;
    value.key = cursor.text("a metadata key", kMaxKeyBytes);
    value.type = cursor.type();
    read_value(cursor, value, 0);
    if (!index_.emplace(value.key, values_.size()).second) {
      cursor.fail(fmt::format("metadata key {} occurs twice", printable(value.key)));
    }
    values_.push_back(std::move(value));
  }
  for (std::uint64_t i = 0; i < tensor_count; ++i) tensors_.push_back(read_tensor(cursor));

  if (const auto alignment = integer("general.alignment")) {
    if (*alignment < 8 || *alignment > static_cast<std::int64_t>(kMaxAlignment) ||
        !std::has_single_bit(static_cast<std::uint64_t>(*alignment))) {
      cursor.fail(
          fmt::format("general.alignment {} is not a power of two from 8 to {}", *alignment, kMaxAlignment));
    }
    alignment_ = static_cast<std::uint64_t>(*alignment);
  }
  const std::uint64_t data_begin = (cursor.position() + alignment_ - 1) / alignment_ * alignment_;
  data_ = file_.bytes().subspan(std::min<std::uint64_t>(data_begin, file_.bytes().size()));
}

const GgufValue* GgufFile::find(const std::string& key) const noexcept {
  const auto found = index_.find(key);
  return found == index_.end() ? nullptr : &values_[found->second];
}

void GgufFile::check_type(const GgufValue& value, bool right, std::string_view wanted) const {
  if (!right) fail_data("{}: metadata {} is not {}", path().string(), printable(value.key), wanted);
}

std::optional<std::int64_t> GgufFile::integer(const std::string& key) const {
  const GgufValue* value = find(key);
  if (value == nullptr) return std::nullopt;
  const auto number = gguf_integer(value->type, value->bytes);
  check_type(*value, number.has_value(), "an integer");
  return number;
}

std::optional<double> GgufFile::number(const std::string& key) const {
  const GgufValue* value = find(key);
  if (value == nullptr) return std::nullopt;
  const auto number = gguf_number(value->type, value->bytes);
  check_type(*value, number.has_value(), "a number");
  return number;
}

std::optional<bool> GgufFile::boolean(const std::string& key) const {
  const GgufValue* value = find(key);
  if (value == nullptr) return std::nullopt;
  check_type(*value, value->type == GgufType::Bool, "a boolean");
  return value->bytes[0] != std::byte{0};
}

std::optional<std::string> GgufFile::text(const std::string& key) const {
  const GgufValue* value = find(key);
  if (value == nullptr) return std::nullopt;
  check_type(*value, value->type == GgufType::String, "a string");
  return std::string(as_text(value->bytes));
}

std::optional<std::vector<std::string>> GgufFile::texts(const std::string& key) const {
  const GgufValue* value = find(key);
  if (value == nullptr) return std::nullopt;
  check_type(*value, value->type == GgufType::Array && value->element_type == GgufType::String,
             "an array of strings");
  std::vector<std::string> out;
  GgufCursor cursor(value->bytes, path());
  for (std::uint64_t i = 0; i < value->count; ++i) out.push_back(cursor.text("a string", cursor.remaining()));
  return out;
}

std::optional<std::vector<std::int64_t>> GgufFile::integers(const std::string& key) const {
  const GgufValue* value = find(key);
  if (value == nullptr) return std::nullopt;
  check_type(*value, value->type == GgufType::Array, "an array of integers");
  std::vector<std::int64_t> out;
  const std::size_t size = gguf_fixed_bytes(value->element_type);
  for (std::uint64_t i = 0; i < value->count; ++i) {
    const auto number =
        size == 0 ? std::nullopt : gguf_integer(value->element_type, value->bytes.subspan(i * size, size));
    check_type(*value, number.has_value(), "an array of integers");
    out.push_back(*number);
  }
  return out;
}

std::optional<std::vector<double>> GgufFile::numbers(const std::string& key) const {
  const GgufValue* value = find(key);
  if (value == nullptr) return std::nullopt;
  check_type(*value, value->type == GgufType::Array, "an array of numbers");
  std::vector<double> out;
  const std::size_t size = gguf_fixed_bytes(value->element_type);
  for (std::uint64_t i = 0; i < value->count; ++i) {
    const auto number =
        size == 0 ? std::nullopt : gguf_number(value->element_type, value->bytes.subspan(i * size, size));
    check_type(*value, number.has_value(), "an array of numbers");
    out.push_back(*number);
  }
  return out;
}

Tensor GgufFile::locate(const GgufTensor& tensor) const {
  const auto refuse = [&](std::string_view reason) {
    fail_data("{}: tensor {} {}", path().string(), printable(tensor.name), reason);
  };
  const std::string_view type_name = tensor.type < kTypeNames.size() ? kTypeNames[tensor.type] : "";
  if (type_name.empty()) refuse(fmt::format("has the unknown element type {}", tensor.type));
  const std::optional<TensorType> type = find_tensor_type(tensor.type);
  if (!type) {
    refuse(fmt::format(
        "has element type {}, which is not supported; quantize the model to Q8_0, Q6_K or Q4_K instead",
        type_name));
  }
  for (std::size_t i = 3; i < tensor.extents.size(); ++i) {
    if (tensor.extents[i] != 1) refuse("has more than three dimensions");
  }
  const TensorTypeTraits& type_traits = traits(*type);
  const std::uint64_t cols = tensor.extents[0];
  const std::uint64_t rows = tensor.extents.size() > 1 ? tensor.extents[1] : 1;
  const std::uint64_t planes = tensor.extents.size() > 2 ? tensor.extents[2] : 1;
  if (cols % type_traits.block_elements != 0) {
    refuse(fmt::format("has {} columns, which do not make whole {} blocks of {}", cols, type_name,
                       type_traits.block_elements));
  }
  const auto row = checked_multiply(cols / type_traits.block_elements, type_traits.block_bytes);
  const auto plane = row ? checked_multiply(*row, rows) : std::nullopt;
  const auto bytes = plane ? checked_multiply(*plane, planes) : std::nullopt;
  if (!bytes || *bytes > data_.size() || tensor.offset > data_.size() - *bytes) {
    refuse("lies outside the file (is it cut off?)");
  }
  if (tensor.offset % alignment_ != 0) {
    refuse(fmt::format("does not begin at a multiple of {} bytes", alignment_));
  }
  return {.name = tensor.name,
          .type = *type,
          .planes = planes,
          .rows = rows,
          .cols = cols,
          .data = data_.data() + tensor.offset,
          .bytes = *bytes};
}

void GgufFile::check_overlap(std::vector<Tensor> located) const {
  std::sort(located.begin(), located.end(), [](const Tensor& a, const Tensor& b) { return a.data < b.data; });
  for (std::size_t i = 1; i < located.size(); ++i) {
    if (located[i - 1].data + located[i - 1].bytes > located[i].data) {
      fail_data("{}: the data of tensors {} and {} overlap", path().string(), printable(located[i - 1].name),
                printable(located[i].name));
    }
  }
}

}  // namespace thinkey
