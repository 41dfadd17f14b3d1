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
#include "formats/file_exists.h"
#include "formats/hf_config.h"
#include "formats/hf_tokenizer.h"
#include "formats/json.h"
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
    const JsonView view(config_json_, config_path);
    config_.emplace(view);
    architecture_ = view.require_text("model_type");
    name_ = view.text("_name_or_path").value_or("");
    for (const auto& [key, value] : config_json_.items()) {
      metadata_.emplace_back(printable(key),
                             printable(value.is_string() ? value.get<std::string>() : value.dump(), 200));
    }
    tokenizer_ = read_hf_tokenizer(directory, read_hf_config(view));
    shards_ = open_shards(directory);
    container_ = fmt::format("Hugging Face, {} shard{}", shards_.size(), shards_.size() == 1 ? "" : "s");
    for (const SafetensorsFile& shard : shards_) {
      file_bytes_ += shard.file_bytes();
      for (const SafetensorsTensor& tensor : shard.tensors()) add(tensor, shard.path());
    }
  }

 private:
  void add(const SafetensorsTensor& source, const std::filesystem::path& path) {
    const auto refuse = [&](std::string_view reason) {
      fail_data("{}: tensor {} {}", path.string(), printable(source.name), reason);
    };
    const auto type = tensor_type(source.type);
    if (!type) {
      refuse(fmt::format("has dtype {}; F32, F16 and BF16 are supported", thinkey::name(source.type)));
    }
    if (source.shape.empty() || source.shape.size() > 3) refuse("has more than three dimensions or none");
    if (source.bytes.empty()) refuse("is empty");
    Tensor tensor{.name = source.name,
                  .type = *type,
                  .planes = source.shape.size() == 3 ? source.shape[0] : 1,
                  .rows = source.shape.size() >= 2 ? source.shape[source.shape.size() - 2] : 1,
                  .cols = source.shape.back(),
                  .data = aligned(source.bytes, traits(*type).block_bytes),
                  .bytes = source.bytes.size()};
    if (!add_tensor(std::move(tensor))) refuse("occurs in more than one shard");
  }

  // `bytes`, copied when they do not lie at a multiple of an element's size, which the format allows.
  const std::byte* aligned(std::span<const std::byte> bytes, std::size_t element) {
    if (reinterpret_cast<std::uintptr_t>(bytes.data()) % element == 0) return bytes.data();
    AlignedBuffer<std::byte>& copy = copies_.emplace_back(bytes.size());
    std::memcpy(copy.data(), bytes.data(), bytes.size());
    return copy.data();
  }

  std::vector<SafetensorsFile> shards_;
  std::vector<AlignedBuffer<std::byte>> copies_;
};

}  // namespace

std::unique_ptr<ModelFile> open_hf_directory(const std::filesystem::path& directory) {
  return std::make_unique<HfDirectory>(directory);
}

}  // namespace thinkey
