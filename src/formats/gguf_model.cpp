#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "base/fail.h"
#include "formats/gguf.h"
#include "formats/gguf_cursor.h"
#include "formats/gguf_split.h"
#include "formats/layer_name.h"
#include "formats/printable.h"
#include "formats/rope_frequencies.h"

namespace thinkey {
namespace {

constexpr const char* kRopeFactors = "rope_freqs.weight";

// The architecture's keys, "llama.block_count" by "block_count".
class ArchitectureKeys {
 public:
  ArchitectureKeys(const GgufFile& file, std::string architecture)
      : file_(&file), prefix_(std::move(architecture)) {
    prefix_ += '.';
  }

  [[nodiscard]] std::string key(std::string_view name) const { return prefix_ + std::string(name); }
  [[nodiscard]] bool has(std::string_view name) const { return file_->find(key(name)) != nullptr; }

  // An integer, or an array of equal ones (some writers give one per layer).
  [[nodiscard]] std::optional<std::int64_t> integer(std::string_view name) const {
    const GgufValue* value = file_->find(key(name));
    if (value == nullptr || value->type != GgufType::Array) return file_->integer(key(name));
    const std::vector<std::int64_t> all = file_->integers(key(name)).value();
    if (all.empty()) fail(name, "is empty");
    if (std::adjacent_find(all.begin(), all.end(), std::not_equal_to<>()) != all.end()) {
      fail(name, "differs from layer to layer, which is not supported");
    }
    return all.front();
  }
  [[nodiscard]] std::int64_t require_integer(std::string_view name) const {
    const auto value = integer(name);
    if (!value) fail(name, "is missing");
    return *value;
  }
  [[nodiscard]] std::optional<double> number(std::string_view name) const { return file_->number(key(name)); }
  [[nodiscard]] std::optional<std::string> text(std::string_view name) const {
    return file_->text(key(name));
  }
  [[noreturn]] void fail(std::string_view name, std::string_view reason) const {
    fail_data("{}: metadata {} {}", file_->path().string(), key(name), reason);
  }

 private:
  const GgufFile* file_;
  std::string prefix_;
};

void refuse_other_models(const GgufFile& file, const std::string& architecture) {
  const std::string path = file.path().string();
  const std::string type = file.text("general.type").value_or("model");
  if (type != "model") fail_data("{}: holds a \"{}\", not a model", path, printable(type));
  if (architecture != "llama" && architecture != "mistral") {
    fail_data("{}: architecture \"{}\" is not supported (llama and mistral are)", path,
              printable(architecture));
  }
}

std::int64_t head_dim(const ArchitectureKeys& keys, const Hyperparameters& h) {
  const auto of_keys = keys.integer("attention.key_length");
  const auto of_values = keys.integer("attention.value_length");
  if (of_keys.has_value() != of_values.has_value() || of_keys != of_values) {
    keys.fail("attention.key_length", "and value_length differ, which is not supported");
  }
  if (of_keys) return *of_keys;
  if (h.query_heads <= 0 || h.width % h.query_heads != 0) {
    keys.fail("attention.head_count", "does not divide embedding_length");
  }
  return h.width / h.query_heads;
}

// The divisor of each pair's frequency that LLaMA 3.1 files carry as a tensor.
std::vector<float> rope_factors(const GgufFile& file, const GgufTensor& entry, std::size_t pairs) {
  const Tensor tensor = file.locate(entry);
  if (tensor.type != TensorType::F32 || tensor.rows != 1 || static_cast<std::size_t>(tensor.cols) != pairs) {
    fail_data("{}: tensor {} is not a row of {} F32", file.path().string(), kRopeFactors, pairs);
  }
  std::vector<float> factors(pairs);
  std::memcpy(factors.data(), tensor.data, pairs * sizeof(float));
  for (const float factor : factors) {
    if (!std::isfinite(factor) || factor <= 0) {
      fail_data("{}: tensor {} holds {}, which is no divisor", file.path().string(), kRopeFactors, factor);
    }
  }
  return factors;
}

void set_rope(const GgufParts& parts, const ArchitectureKeys& keys, Hyperparameters& h) {
  const std::int64_t dimensions = keys.integer("rope.dimension_count").value_or(h.head_dim);
  if (dimensions != h.head_dim) {
    keys.fail("rope.dimension_count",
              fmt::format("is {} but heads have {} channels; partial RoPE is not supported", dimensions,
                          h.head_dim));
  }
  std::vector<double> frequencies = rope_frequencies(h.head_dim, h.rope_theta);

  // A factor without a type means linear scaling, as in llama.cpp.
  const std::string type = keys.text("rope.scaling.type").value_or("linear");
  if (type != "none" && type != "linear") {
    keys.fail("rope.scaling.type",
              fmt::format("\"{}\" is not supported (none and linear are)", printable(type)));
  }
  double factor = keys.number("rope.scaling.factor").value_or(0);
  if (factor == 0) factor = keys.number("rope.scale_linear").value_or(0);
  if (factor == 0) factor = 1;  // absent or "not set"
  if (!std::isfinite(factor) || factor < 0) keys.fail("rope.scaling.factor", "is not a positive number");
  if (type == "linear" && factor != 1) {
    h.rope_scaling = "linear";
    for (double& frequency : frequencies) frequency /= factor;
  }

  if (const auto [file, factors] = parts.find(kRopeFactors); factors != nullptr) {
    h.rope_scaling = "llama3";
    const std::vector<float> divisors = rope_factors(*file, *factors, frequencies.size());
    for (std::size_t i = 0; i < frequencies.size(); ++i) frequencies[i] /= static_cast<double>(divisors[i]);
  }
  h.rope_inverse_frequencies = to_floats(frequencies);
}

std::int64_t embedding_rows(const GgufParts& parts) {
  const auto [file, tensor] = parts.find("token_embd.weight");
  if (tensor != nullptr) return file->locate(*tensor).rows;
  fail_data("{}: tensor token_embd.weight is missing{}", parts.first().path().string(),
            parts.first().tensors().empty() ? " (the file holds only a vocabulary)" : "");
}

Hyperparameters read_hyperparameters(const GgufParts& parts) {
  const GgufFile& file = parts.first();
  Hyperparameters h;
  const auto architecture = file.text("general.architecture");
  if (!architecture) fail_data("{}: metadata general.architecture is missing", file.path().string());
  h.architecture = *architecture;
  refuse_other_models(file, h.architecture);
  h.name = file.text("general.name").value_or("");

  const ArchitectureKeys keys(file, h.architecture);
  if (keys.integer("expert_count").value_or(0) > 0) {
    keys.fail("expert_count", "is not 0: mixtures of experts are not supported");
  }
  if (!file.boolean(keys.key("attention.causal")).value_or(true)) {
    keys.fail("attention.causal", "is false: only causal models are supported");
  }
  h.layers = keys.require_integer("block_count");
  h.context_length = keys.require_integer("context_length");
  h.width = keys.require_integer("embedding_length");
  h.ffn_width = keys.require_integer("feed_forward_length");
  h.query_heads = keys.require_integer("attention.head_count");
  h.kv_heads = keys.integer("attention.head_count_kv").value_or(h.query_heads);
  h.head_dim = head_dim(keys, h);
  const auto epsilon = keys.number("attention.layer_norm_rms_epsilon");
  if (!epsilon) keys.fail("attention.layer_norm_rms_epsilon", "is missing");
  h.rms_epsilon = static_cast<float>(*epsilon);
  h.sliding_window = keys.integer("attention.sliding_window").value_or(0);
  h.rope_theta = static_cast<float>(keys.number("rope.freq_base").value_or(10000.0));
  h.rope_layout = RopeLayout::Interleaved;
  h.vocabulary = embedding_rows(parts);
  check_hyperparameters(h, file.path());
  set_rope(parts, keys, h);
  return h;
}

// A tensor that the forward pass does not use would mean another model than the one we compute.
void refuse_unknown_tensor(const GgufFile& file, const std::string& name) {
  std::string_view why = "is not part of a llama model";
  if (name.ends_with(".bias")) why = "is a bias, which is not supported";
  if (name.find("_exps") != std::string::npos || name.find("ffn_gate_inp") != std::string::npos) {
    why = "belongs to a mixture of experts, which is not supported";
  }
  if (name.starts_with("rope_factors")) why = "belongs to longrope scaling, which is not supported";
  if (name.find("attn_q_norm") != std::string::npos || name.find("attn_k_norm") != std::string::npos) {
    why = "normalises queries or keys, which is not supported";
  }
  fail_data("{}: tensor {} {}", file.path().string(), printable(name), why);
}

enum class Use : std::uint8_t { Load, Skip, Refuse };

Use use_of(const std::string& name, std::int64_t layers) {
  static constexpr std::array<std::string_view, 9> layer_tensors{
      "attn_norm.weight", "attn_q.weight",   "attn_k.weight", "attn_v.weight",  "attn_output.weight",
      "ffn_norm.weight",  "ffn_gate.weight", "ffn_up.weight", "ffn_down.weight"};
  if (name == "token_embd.weight" || name == "output_norm.weight" || name == "output.weight") {
    return Use::Load;
  }
  if (name == kRopeFactors) return Use::Skip;  // already part of the frequencies
  const auto part = split_layer_name(name, "blk.", layers);
  if (!part) return Use::Refuse;
  if (part->rest == "attn_rot_embd.weight") return Use::Skip;  // the frequencies again, in the oldest files
  const bool known = std::find(layer_tensors.begin(), layer_tensors.end(), part->rest) != layer_tensors.end();
  return known ? Use::Load : Use::Refuse;
}

class GgufModel final : public ModelFile {
 public:
  explicit GgufModel(const std::filesystem::path& path) : parts_(path) {
    container_ = parts_.container();
    file_bytes_ = parts_.file_bytes();
    for (const GgufValue& value : parts_.first().values()) {
      metadata_.emplace_back(printable(value.key), printable(value));
    }
    hyperparameters_ = read_hyperparameters(parts_);
    tokenizer_ = read_vocabulary(parts_.first());
    for (const GgufFile& file : parts_.files()) add_tensors(file);
    hyperparameters_.tied_output = find("output.weight") == nullptr;
    check_model(*this, path);
  }

 private:
  void add_tensors(const GgufFile& file) {
    std::vector<Tensor> located;
    for (const GgufTensor& entry : file.tensors()) {
      const Use use = use_of(entry.name, hyperparameters_.layers);
      if (use == Use::Refuse) refuse_unknown_tensor(file, entry.name);
      if (use != Use::Load) continue;
      located.push_back(file.locate(entry));
      if (!add_tensor(located.back())) {
        fail_data("{}: two tensors are called {}", file.path().string(), printable(entry.name));
      }
    }
    file.check_overlap(std::move(located));
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
