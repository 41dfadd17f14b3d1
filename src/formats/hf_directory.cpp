#include "formats/hf_directory.h"

#include <algorithm>
#include <cstring>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/fail.h"
#include "base/system_memory.h"
#include "formats/file_exists.h"
#include "formats/fp8.h"
#include "formats/hf_config.h"
#include "formats/hf_quantization.h"
#include "formats/hf_tokenizer.h"
#include "formats/json.h"
#include "formats/mxfp4.h"
#include "formats/printable.h"
#include "formats/safetensors.h"

namespace thinkey {
namespace {

constexpr std::size_t kMaxConfigBytes = std::size_t{16} << 20U;
constexpr std::size_t kMaxIndexBytes = std::size_t{64} << 20U;
constexpr std::size_t kMaxShards = 4096;

std::optional<TensorType> tensor_type(SafetensorsType type) {
  if (type == SafetensorsType::F32) return TensorType::F32;
  if (type == SafetensorsType::F16) return TensorType::F16;
  if (type == SafetensorsType::BF16) return TensorType::BF16;
  return std::nullopt;
}

// Names of the files that hold the weights, from model.safetensors.index.json; checks that every
// tensor is in the file which the index names.
std::vector<SafetensorsFile> open_indexed_shards(const std::filesystem::path& directory,
                                                 const std::filesystem::path& index_path) {
  const Json json = read_json_object(index_path, kMaxIndexBytes);
  const JsonView index(json, index_path);
  const auto map = index.object("weight_map");
  if (!map || map->json().empty()) index.fail("weight_map", "is missing or empty");
  std::set<std::string> names;
  for (const auto& [tensor, file] : map->json().items()) {
    if (!file.is_string()) index.fail("weight_map", "holds something that is not a file name");
    const std::filesystem::path name = file.get<std::string>();
    // A name must not lead out of the directory.
    if (name.empty() || name.has_parent_path() || name.filename() != name || name == ".." || name == "." ||
        name.native().find('\0') != std::string::npos) {
      index.fail("weight_map",
                 fmt::format("names {}, which is not a plain file name", printable(name.string())));
    }
    names.insert(name.string());
  }
  if (names.size() > kMaxShards) {
    index.fail("weight_map", fmt::format("names more than {} files", kMaxShards));
  }
  std::vector<SafetensorsFile> shards;
  for (const std::string& name : names) shards.emplace_back(directory / name);
  for (const auto& [tensor, file] : map->json().items()) {
    const auto shard = std::distance(names.begin(), names.find(file.get<std::string>()));
    (void)shards[static_cast<std::size_t>(shard)].at(tensor);
  }
  return shards;
}

std::vector<SafetensorsFile> open_shards(const std::filesystem::path& directory) {
  const auto single = directory / "model.safetensors";
  const auto index = directory / "model.safetensors.index.json";
  std::vector<SafetensorsFile> shards;
  if (file_exists(single)) {
    shards.emplace_back(single);
  } else if (file_exists(index)) {
    shards = open_indexed_shards(directory, index);
  } else {
    fail_data(
        "{}: neither model.safetensors nor model.safetensors.index.json (other weight files, such as "
        "pytorch_model.bin, must be converted first)",
        directory.string());
  }
  return shards;
}

// Errors of what call() does name the file.
template <typename Call>
auto naming(const std::filesystem::path& path, const Call& call) {
  try {
    return call();
  } catch (const Error& error) {
    fail_data("{}: {}", path.string(), error.what());
  }
}

class HfDirectory final : public ModelFile {
 public:
  explicit HfDirectory(const std::filesystem::path& directory) {
    kind_ = Container::HuggingFace;
    path_ = directory;
    const auto config_path = directory / "config.json";
    if (!file_exists(config_path)) {
      fail_data("{}: no config.json: not a Hugging Face model directory", directory.string());
    }
    config_json_ = read_json_object(config_path, kMaxConfigBytes);
    unwrap(config_path);
    const JsonView view(config_json_, config_path);
    config_.emplace(view);
    architecture_ = view.require_text("model_type");
    name_ = view.text("_name_or_path").value_or("");
    for (const auto& [key, value] : config_json_.items()) {
      metadata_.emplace_back(printable(key),
                             printable(value.is_string() ? value.get<std::string>() : value.dump(), 200));
    }
    tokenizer_ = read_hf_tokenizer(directory, read_hf_config(view));
    quantization_ = read_hf_quantization(view);
    shards_ = open_shards(directory);
    container_ = fmt::format("Hugging Face, {} shard{}", shards_.size(), shards_.size() == 1 ? "" : "s");
    if (quantization_.fp8) expect_expansion();
    for (const SafetensorsFile& shard : shards_) {
      file_bytes_ += shard.file_bytes();
      for (const SafetensorsTensor& tensor : shard.tensors()) add(tensor, shard.path());
    }
  }

 private:
  // A model of text and images: what we run is the text model that it wraps.
  void unwrap(const std::filesystem::path& config_path) {
    const JsonView whole(config_json_, config_path);
    const std::string type = whole.require_text("model_type");
    if (type != "gemma3" && type != "mistral3") return;
    const auto text = whole.object("text_config");
    if (!text) whole.fail("text_config", "is missing");
    Json inner = text->json();
    for (const char* key : {"tie_word_embeddings", "quantization_config", "bos_token_id", "eos_token_id"}) {
      if (!inner.contains(key) && config_json_.contains(key)) inner[key] = config_json_[key];
    }
    config_json_ = std::move(inner);
    wrapped_ = true;
  }

  // A tensor's name in the text model alone; empty for one of the part that sees.
  [[nodiscard]] std::string text_name(std::string name) const {
    if (!wrapped_) return name;
    for (const std::string_view part : {"vision_tower.", "multi_modal_projector.", "model.vision_tower.",
                                        "model.multi_modal_projector.", "vision_encoder."}) {
      if (name.starts_with(part)) return {};
    }
    constexpr std::string_view kOlder = "language_model.";
    constexpr std::string_view kNewer = "model.language_model.";
    if (name.starts_with(kNewer)) return "model." + name.substr(kNewer.size());
    if (name.starts_with(kOlder)) return name.substr(kOlder.size());
    return name;
  }

  // Errors of what call() does name the file.
  template <typename Call>
  static auto naming(const std::filesystem::path& path, const Call& call) {
    try {
      return call();
    } catch (const Error& error) {
      fail_data("{}: {}", path.string(), error.what());
    }
  }

  void add(const SafetensorsTensor& source, const std::filesystem::path& path) {
    const auto refuse = [&](std::string_view reason) {
      fail_data("{}: tensor {} {}", path.string(), printable(source.name), reason);
    };
    if (quantization_.fp8 && is_fp8_scale(source.name)) return;
    if (quantization_.mxfp4 && source.name.ends_with("_scales")) return;
    if (quantization_.mxfp4 && source.name.ends_with("_blocks")) {
      if (!add_tensor(naming(path, [&] { return reordered(source); })))
        refuse("occurs in more than one shard");
      return;
    }
    const bool fp8 = quantization_.fp8 && source.type == SafetensorsType::F8_E4M3;
    const auto type = fp8 ? TensorType::BF16 : tensor_type(source.type);
    if (!type) {
      refuse(fmt::format("has dtype {}; F32, F16 and BF16 are supported", thinkey::name(source.type)));
    }
    if (source.shape.empty() || source.shape.size() > 3) refuse("has more than three dimensions or none");
    if (source.bytes.empty()) refuse("is empty");
    const std::string name = text_name(source.name);
    if (name.empty()) return;
    const auto extent = [&](std::size_t i) { return static_cast<std::size_t>(source.shape[i]); };
    Tensor tensor{.name = name,
                  .type = *type,
                  .planes = source.shape.size() == 3 ? extent(0) : 1,
                  .rows = source.shape.size() >= 2 ? extent(source.shape.size() - 2) : 1,
                  .cols = extent(source.shape.size() - 1),
                  .data = fp8 ? naming(path, [&] { return expanded(source); })
                              : aligned(source.bytes, traits(*type).block_bytes),
                  .bytes = source.elements() * traits(*type).block_bytes};
    if (!add_tensor(std::move(tensor))) refuse("occurs in more than one shard");
  }

  // What 8-bit floats take as bf16: said, and refused before it is needed.
  void expect_expansion() {
    std::size_t bytes = 0;
    for (const SafetensorsFile& shard : shards_) {
      for (const SafetensorsTensor& tensor : shard.tensors()) {
        if (tensor.type == SafetensorsType::F8_E4M3) bytes += 2 * tensor.elements();
      }
    }
    constexpr std::size_t kMebibyte = std::size_t{1} << 20U;
    if (const std::size_t memory = available_memory(); memory > 0 && bytes > memory) {
      fail_data(
          "{}: its 8-bit floats take {} MiB as bf16 but {} MiB are available; use a quantized GGUF file",
          path_.string(), bytes / kMebibyte, memory / kMebibyte);
    }
    container_ += fmt::format(", F8_E4M3 expanded to BF16 ({} MiB)", (bytes + kMebibyte - 1) / kMebibyte);
  }

  // A weight's scale may lie in another shard.
  [[nodiscard]] const SafetensorsTensor* find_source(std::string_view name) const {
    for (const SafetensorsFile& shard : shards_) {
      if (const SafetensorsTensor* found = shard.find(name)) return found;
    }
    return nullptr;
  }

  const std::byte* expanded(const SafetensorsTensor& weight) {
    const auto find = [&](std::string_view name) { return find_source(name); };
    const auto& values =
        expanded_.emplace_back(expand_fp8(weight, fp8_scale(weight, find), *quantization_.fp8));
    return reinterpret_cast<const std::byte*>(values.data());
  }

  // gpt-oss's experts [planes, rows, groups, 16], under the name of their blocks.
  Tensor reordered(const SafetensorsTensor& blocks) {
    const std::string stem = blocks.name.substr(0, blocks.name.size() - std::string_view("_blocks").size());
    const SafetensorsTensor* scales = find_source(stem + "_scales");
    if (scales == nullptr) fail_data("there is no tensor {}_scales", printable(stem));
    Mxfp4Matrix matrix = read_mxfp4(blocks, *scales);
    const std::size_t planes = blocks.shape.size() == 4 ? static_cast<std::size_t>(blocks.shape[0]) : 1;
    const auto& data = copies_.emplace_back(std::move(matrix.data));
    return {.name = blocks.name,
            .type = TensorType::MXFP4,
            .planes = planes,
            .rows = matrix.rows / planes,
            .cols = matrix.cols,
            .data = data.data(),
            .bytes = data.bytes()};
  }

  // `bytes`, copied when they do not lie at a multiple of an element's size, which the format allows.
  const std::byte* aligned(std::span<const std::byte> bytes, std::size_t element) {
    if (reinterpret_cast<std::uintptr_t>(bytes.data()) % element == 0) return bytes.data();
    AlignedBuffer<std::byte>& copy = copies_.emplace_back(bytes.size());
    std::memcpy(copy.data(), bytes.data(), bytes.size());
    return copy.data();
  }

  bool wrapped_ = false;
  std::vector<SafetensorsFile> shards_;
  std::vector<AlignedBuffer<std::byte>> copies_;
  std::vector<AlignedBuffer<bf16_bits>> expanded_;
  HfQuantization quantization_;
};

}  // namespace

std::unique_ptr<ModelFile> open_hf_directory(const std::filesystem::path& directory) {
  return std::make_unique<HfDirectory>(directory);
}

}  // namespace thinkey
