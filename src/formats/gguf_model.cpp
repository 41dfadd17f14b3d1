#include <algorithm>
#include <optional>
#include <span>
#include <string>

#include "base/fail.h"
#include "formats/gguf.h"
#include "formats/gguf_cursor.h"
#include "formats/gguf_split.h"
#include "formats/printable.h"

namespace thinkey {
namespace {

// More elements than any per-layer list has; what is longer is no hyperparameter.
constexpr std::uint64_t kMaxListed = 65536;

Json scalar(GgufType type, std::span<const std::byte> bytes) {
  if (type == GgufType::Bool) return bytes[0] != std::byte{0};
  if (const auto integer = gguf_integer(type, bytes)) return *integer;
  if (const auto number = gguf_number(type, bytes)) return *number;
  return nullptr;
}

// Numbers, strings and lists of them; null for what no hyperparameter is.
Json to_json(const GgufFile& file, const GgufValue& value) {
  if (value.type == GgufType::String) return printable(as_text(value.bytes), 4096);
  if (value.type != GgufType::Array) return scalar(value.type, value.bytes);
  if (value.count > kMaxListed) {
    fail_data("{}: metadata {} has {} elements; at most {} are expected", file.path().string(),
              printable(value.key), value.count, kMaxListed);
  }
  Json list = Json::array();
  if (value.element_type == GgufType::String) {
    const std::vector<std::string> texts = file.texts(value.key).value();
    for (const std::string& text : texts) list.push_back(printable(text, 4096));
  } else if (const std::size_t size = gguf_fixed_bytes(value.element_type); size != 0) {
    for (std::uint64_t i = 0; i < value.count; ++i) {
      list.push_back(scalar(value.element_type, value.bytes.subspan(i * size, size)));
    }
  }
  return list;
}

class GgufModel final : public ModelFile {
 public:
  explicit GgufModel(const std::filesystem::path& path) : parts_(path) {
    const GgufFile& file = parts_.first();
    kind_ = Container::Gguf;
    path_ = path;
    container_ = parts_.container();
    file_bytes_ = parts_.file_bytes();
    const auto architecture = file.text("general.architecture");
    if (!architecture) fail_data("{}: metadata general.architecture is missing", path.string());
    architecture_ = *architecture;
    name_ = file.text("general.name").value_or("");
    const std::string type = file.text("general.type").value_or("model");
    if (type != "model") fail_data("{}: holds a \"{}\", not a model", path.string(), printable(type));
    read_config(file);
    tokenizer_ = read_vocabulary(file);
    for (const GgufFile& part : parts_.files()) {
      const std::size_t before = tensors_.size();
      for (const GgufTensor& entry : part.tensors()) {
        if (!add_tensor(part.locate(entry))) {
          fail_data("{}: two tensors are called {}", part.path().string(), printable(entry.name));
        }
      }
      part.check_overlap({tensors_.begin() + static_cast<std::ptrdiff_t>(before), tensors_.end()});
    }
  }

 private:
  void read_config(const GgufFile& file) {
    const std::string prefix = architecture_ + ".";
    config_json_ = Json::object();
    for (const GgufValue& value : file.values()) {
      metadata_.emplace_back(printable(value.key), printable(value));
      if (value.key.starts_with(prefix)) config_json_[value.key.substr(prefix.size())] = to_json(file, value);
    }
    config_.emplace(JsonView(config_json_, path_, "metadata " + printable(prefix)));
  }

  GgufParts parts_;
};

std::string printable_scalar(GgufType type, std::span<const std::byte> bytes) {
  if (type == GgufType::Bool) return bytes[0] != std::byte{0} ? "true" : "false";
  if (type == GgufType::U64) return fmt::format("{}", load<std::uint64_t>(bytes));
  if (type == GgufType::F32) return fmt::format("{}", load<float>(bytes));
  if (const auto integer = gguf_integer(type, bytes)) return fmt::format("{}", *integer);
  return fmt::format("{}", gguf_number(type, bytes).value_or(0));
}

}  // namespace

std::string printable(const GgufValue& value) {
  constexpr std::uint64_t shown = 8;
  if (value.type == GgufType::String) return printable(as_text(value.bytes), 200);
  if (value.type != GgufType::Array) return printable_scalar(value.type, value.bytes);
  std::string out = "[";
  std::span<const std::byte> rest = value.bytes;
  for (std::uint64_t i = 0; i < std::min(value.count, shown); ++i) {
    if (i > 0) out += ", ";
    if (const std::size_t size = gguf_fixed_bytes(value.element_type); size != 0) {
      out += printable_scalar(value.element_type, rest);
      rest = rest.subspan(size);
    } else if (value.element_type == GgufType::String) {
      const auto length = load<std::uint64_t>(rest);
      out += '"' + printable(as_text(rest.subspan(sizeof(std::uint64_t), length)), 40) + '"';
      rest = rest.subspan(sizeof(std::uint64_t) + length);
    } else {
      return fmt::format("[{} arrays]", value.count);
    }
  }
  if (value.count > shown) out += fmt::format(", ... {} in all", value.count);
  return out + "]";
}

std::unique_ptr<ModelFile> open_gguf_model(const std::filesystem::path& path) {
  return std::make_unique<GgufModel>(path);
}

}  // namespace thinkey
