#include "formats/hf_directory.h"

#include <algorithm>
#include <array>
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
#include "formats/hf_tokenizer.h"
#include "formats/json.h"
#include "formats/layer_name.h"
#include "formats/printable.h"
#include "formats/safetensors.h"

namespace thinkey {
namespace {

constexpr std::size_t kMaxConfigBytes = std::size_t{16} << 20U;
constexpr std::size_t kMaxIndexBytes = std::size_t{64} << 20U;
constexpr std::size_t kMaxShards = 4096;

using NamePair = std::pair<std::string_view, std::string_view>;

constexpr std::array<NamePair, 3> kModelNames{{{"model.embed_tokens.weight", "token_embd.weight"},
                                               {"model.norm.weight", "output_norm.weight"},
                                               {"lm_head.weight", "output.weight"}}};

constexpr std::array<NamePair, 9> kLayerNames{{{"input_layernorm.weight", "attn_norm.weight"},
                                               {"self_attn.q_proj.weight", "attn_q.weight"},
                                               {"self_attn.k_proj.weight", "attn_k.weight"},
                                               {"self_attn.v_proj.weight", "attn_v.weight"},
                                               {"self_attn.o_proj.weight", "attn_output.weight"},
                                               {"post_attention_layernorm.weight", "ffn_norm.weight"},
                                               {"mlp.gate_proj.weight", "ffn_gate.weight"},
                                               {"mlp.up_proj.weight", "ffn_up.weight"},
                                               {"mlp.down_proj.weight", "ffn_down.weight"}}};

// The GGUF name of a checkpoint's tensor; empty for those we have no use for, nullopt for unknown ones.
std::optional<std::string> gguf_name(const std::string& name, std::int64_t layers) {
  if (name.ends_with("rotary_emb.inv_freq")) return "";  // the frequencies again, in older checkpoints
  for (const auto& [from, to] : kModelNames) {
    if (name == from) return std::string(to);
  }
  const auto split = split_layer_name(name, "model.layers.", layers);
  if (!split) return std::nullopt;
  for (const auto& [from, to] : kLayerNames) {
    if (split->rest == from) return fmt::format("blk.{}.{}", split->layer, to);
  }
  return std::nullopt;
}

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
    const auto config_path = directory / "config.json";
    if (!file_exists(config_path)) {
      fail_data("{}: no config.json: not a Hugging Face model directory", directory.string());
    }
    const Json json = read_json_object(config_path, kMaxConfigBytes);
    const HfConfig config = read_hf_config(JsonView(json, config_path));
    hyperparameters_ = config.hyperparameters;
    for (const auto& [key, value] : json.items()) {
      metadata_.emplace_back(printable(key),
                             printable(value.is_string() ? value.get<std::string>() : value.dump(), 200));
    }
    tokenizer_ = read_hf_tokenizer(directory, config);
    shards_ = open_shards(directory);
    container_ = fmt::format("Hugging Face, {} shard{}", shards_.size(), shards_.size() == 1 ? "" : "s");
    if (config.fp8) expect_expansion(directory);
    for (const SafetensorsFile& shard : shards_) {
      file_bytes_ += shard.file_bytes();
      for (const SafetensorsTensor& tensor : shard.tensors()) add(tensor, shard.path(), config);
    }
    // Checkpoints with tied weights usually leave lm_head out, and some also the key that says so.
    if (!config.tied) hyperparameters_.tied_output = find("output.weight") == nullptr;
    check_model(*this, directory);
  }

 private:
  void add(const SafetensorsTensor& source, const std::filesystem::path& path, const HfConfig& config) {
    const auto refuse = [&](std::string_view reason) {
      fail_data("{}: tensor {} {}", path.string(), printable(source.name), reason);
    };
    if (config.fp8 && is_fp8_scale(source.name)) return;
    const auto name = gguf_name(source.name, hyperparameters_.layers);
    if (!name) {
      refuse(source.name.ends_with(".bias") ? "is a bias, which is not supported"
                                            : "is not part of a llama model");
    }
    if (name->empty()) return;
    if (*name == "output.weight" && config.tied.value_or(false)) return;  // transformers ties over it
    const bool fp8 = config.fp8 && source.type == SafetensorsType::F8_E4M3;
    const auto type = fp8 ? TensorType::BF16 : tensor_type(source.type);
    if (!type) {
      refuse(fmt::format("has dtype {}; F32, F16 and BF16 are supported", thinkey::name(source.type)));
    }
    if (source.shape.empty() || source.shape.size() > 2) refuse("is neither a vector nor a matrix");
    if (source.bytes.empty()) refuse("is empty");
    Tensor tensor{
        .name = *name,
        .type = *type,
        .rows = source.shape.size() == 2 ? source.shape[0] : 1,
        .cols = source.shape.back(),
        .data = fp8 ? expanded(source, *config.fp8) : aligned(source.bytes, traits(*type).block_bytes),
        .bytes = source.elements() * traits(*type).block_bytes};
    if (!add_tensor(std::move(tensor))) refuse("occurs in more than one shard");
  }

  // What 8-bit floats take as bf16: said, and refused before it is needed.
  void expect_expansion(const std::filesystem::path& directory) {
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
          directory.string(), bytes / kMebibyte, memory / kMebibyte);
    }
    container_ += fmt::format(", F8_E4M3 expanded to BF16 ({} MiB)", (bytes + kMebibyte - 1) / kMebibyte);
  }

  // A weight's scale may lie in another shard.
  const std::byte* expanded(const SafetensorsTensor& weight, const Fp8Config& config) {
    const auto find = [&](std::string_view name) -> const SafetensorsTensor* {
      for (const SafetensorsFile& shard : shards_) {
        if (const SafetensorsTensor* found = shard.find(name)) return found;
      }
      return nullptr;
    };
    const auto& values = expanded_.emplace_back(expand_fp8(weight, fp8_scale(weight, find), config));
    return reinterpret_cast<const std::byte*>(values.data());
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
  std::vector<AlignedBuffer<bf16_bits>> expanded_;
};

}  // namespace

std::unique_ptr<ModelFile> open_hf_directory(const std::filesystem::path& directory) {
  return std::make_unique<HfDirectory>(directory);
}

}  // namespace thinkey
