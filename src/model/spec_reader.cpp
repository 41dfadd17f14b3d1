#include "model/spec_reader.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>

#include "base/fail.h"
#include "formats/printable.h"
#include "model/families/families.h"

namespace thinkey {
namespace {

constexpr Key kLayers{"block_count", "num_hidden_layers"};
constexpr Key kWidth{"embedding_length", "hidden_size"};
constexpr Key kFeedForward{"feed_forward_length", "intermediate_size"};
constexpr Key kHeads{"attention.head_count", "num_attention_heads"};
constexpr Key kKvHeads{"attention.head_count_kv", "num_key_value_heads"};
constexpr Key kContext{"context_length", "max_position_embeddings"};
constexpr Key kEpsilon{"attention.layer_norm_rms_epsilon", "rms_norm_eps"};
constexpr std::size_t kMaxLayers = 1024;

}  // namespace

SpecReader::SpecReader(const ModelFile& file) : file_(file) {
  spec.architecture = file.architecture();
  spec.name = file.name();
}

std::optional<std::int64_t> SpecReader::integer(Key key) const {
  const std::string text = name(key);
  if (text.empty()) return std::nullopt;
  if (!gguf() || !config().is_array(text)) return config().integer(text);
  const std::vector<std::int64_t> all = config().integers(text).value();
  if (all.empty()) fail(key, "is empty");
  if (std::adjacent_find(all.begin(), all.end(), std::not_equal_to<>()) != all.end()) {
    fail(key, "differs from layer to layer, which is not supported");
  }
  return all.front();
}

std::optional<double> SpecReader::number(Key key) const {
  const std::string text = name(key);
  return text.empty() ? std::nullopt : config().number(text);
}

std::optional<bool> SpecReader::boolean(Key key) const {
  const std::string text = name(key);
  return text.empty() ? std::nullopt : config().boolean(text);
}

std::optional<std::size_t> SpecReader::size(Key key) const {
  const std::optional<std::int64_t> value = integer(key);
  if (!value) return std::nullopt;
  if (*value < 0) fail(key, "is negative");
  return static_cast<std::size_t>(*value);
}

std::size_t SpecReader::require_size(Key key) const {
  const std::optional<std::size_t> value = size(key);
  if (!value) fail(key, "is missing");
  return *value;
}

void SpecReader::require_equal(Key key, bool value) const {
  if (boolean(key).value_or(value) != value) {
    fail(key, fmt::format("is {}, which is not supported", value ? "false" : "true"));
  }
}

void SpecReader::common(const SpecDefaults& defaults) {
  require_equal({"attention.causal", "is_causal"}, true);
  const std::size_t layers = require_size(kLayers);
  if (layers < 1 || layers > kMaxLayers) fail(kLayers, fmt::format("is outside 1 to {}", kMaxLayers));
  spec.width = require_size(kWidth);
  spec.context_length = gguf() || integer(kContext) ? require_size(kContext) : defaults.context_length;
  const std::optional<double> epsilon = number(kEpsilon);
  if (gguf() && !epsilon) fail(kEpsilon, "is missing");
  spec.epsilon = static_cast<float>(epsilon.value_or(defaults.epsilon));

  LayerSpec layer;
  const std::size_t query_heads = require_size(kHeads);
  // In config.json null means "as many as query heads"; only an absent key takes the class's default.
  std::size_t kv_heads = query_heads;
  if (!gguf() && !config().json().contains(kKvHeads.hf)) kv_heads = defaults.kv_heads.value_or(query_heads);
  kv_heads = size(kKvHeads).value_or(kv_heads);
  std::optional<std::size_t> head_dim = size({"attention.key_length", "head_dim"});
  if (gguf()) {
    const auto of_values = size({"attention.value_length", ""});
    if (of_values != head_dim) {
      config().fail("attention.value_length", "differs from attention.key_length, which is not supported");
    }
  } else if (!head_dim && !config().json().contains("head_dim")) {
    head_dim = defaults.head_dim;
  }
  if (!head_dim) {
    if (query_heads == 0 || spec.width % query_heads != 0) {
      fail(kHeads, fmt::format("does not divide {}, and the head dimension is missing", name(kWidth)));
    }
    head_dim = spec.width / query_heads;
  }
  layer.attention.shape.query_heads = query_heads;
  layer.attention.shape.kv_heads = kv_heads;
  layer.attention.shape.head_dim = *head_dim;
  layer.feed_forward.width =
      defaults.feed_forward ? require_size(kFeedForward) : size(kFeedForward).value_or(0);
  if (!gguf()) {
    for (const char* key : {"hidden_act", "hidden_activation"}) {
      const std::string activation = config().text(key).value_or(defaults.activation);
      if (activation != defaults.activation) {
        config().fail(
            key, fmt::format("\"{}\" is not supported ({} is)", printable(activation), defaults.activation));
      }
    }
  }
  spec.layers.assign(layers, layer);

  if (gguf()) {
    const Tensor* embedding = file_.find("token_embd.weight");
    if (embedding == nullptr) {
      fail_data("{}: tensor token_embd.weight is missing{}", file_.path().string(),
                file_.tensors().empty() ? " (the file holds only a vocabulary)" : "");
    }
    spec.vocabulary = embedding->rows;
    spec.tied_output = file_.find("output.weight") == nullptr;
  } else {
    spec.vocabulary = require_size({"", "vocab_size"});
    spec.tied_output = config().boolean("tie_word_embeddings").value_or(defaults.tied);
    // Checkpoints with tied weights usually leave lm_head out, and some also the key that says so.
    if (!config().has("tie_word_embeddings")) spec.tied_output = file_.find("lm_head.weight") == nullptr;
  }
  check_sizes();
}

std::vector<bool> SpecReader::windows(std::optional<std::int64_t> window,
                                      const std::function<bool(std::size_t)>& slides) {
  const std::size_t layers = spec.layers.size();
  std::vector<bool> out(layers, false);
  for (std::size_t i = 0; i < layers; ++i) out[i] = slides(i);
  const Key pattern{"attention.sliding_window_pattern", "layer_types"};
  if (gguf() && config().is_array(pattern.gguf)) {
    const std::vector<std::int64_t> listed = config().integers(pattern.gguf).value();
    if (listed.size() != layers)
      fail(pattern, fmt::format("has {} entries for {} layers", listed.size(), layers));
    for (std::size_t i = 0; i < layers; ++i) out[i] = listed[i] != 0;
  } else if (gguf()) {
    if (const auto period = integer(pattern)) {
      if (*period < 1) fail(pattern, "is not positive");
      for (std::size_t i = 0; i < layers; ++i) out[i] = static_cast<std::int64_t>(i) % *period < *period - 1;
    }
  } else if (const auto types = config().texts(pattern.hf)) {
    if (types->size() != layers)
      fail(pattern, fmt::format("has {} entries for {} layers", types->size(), layers));
    for (std::size_t i = 0; i < layers; ++i) {
      const std::string& type = (*types)[i];
      if (type != "full_attention" && type != "sliding_attention" && type != "attention") {
        fail(pattern, fmt::format("holds \"{}\", which is not supported", printable(type)));
      }
      out[i] = type == "sliding_attention";
    }
  }
  const Key size_key{"attention.sliding_window", "sliding_window"};
  const bool any = std::find(out.begin(), out.end(), true) != out.end();
  if (any && (!window || *window < 1)) fail(size_key, "is missing, but some layers have a window");
  if (window && *window < 0) fail(size_key, "is negative");
  for (std::size_t i = 0; i < layers; ++i) {
    if (out[i]) spec.layers[i].attention.shape.sliding_window = static_cast<std::size_t>(*window);
  }
  return out;
}

void SpecReader::experts(Key width, const std::function<bool(std::size_t)>& sparse) {
  const Key count_key{"expert_count", "num_experts"};
  const Key used_key{"expert_used_count", "num_experts_per_tok"};
  std::optional<std::size_t> count = size(count_key);
  if (!gguf()) {
    const auto local = size({"", "num_local_experts"});
    if (count && local && *count != *local) config().fail("num_local_experts", "differs from num_experts");
    if (!count) count = local;
  }
  if (!count) fail(count_key, "is missing");
  const std::size_t used = require_size(used_key);
  const std::size_t inner = size(width).value_or(spec.layers.front().feed_forward.width);
  if (*count < 1 || *count > 4096) fail(count_key, "is outside 1 to 4096");
  if (used < 1 || used > *count) fail(used_key, fmt::format("is outside 1 to {}", *count));
  if (inner < 1) fail(width, "is not positive");
  for (std::size_t i = 0; i < spec.layers.size(); ++i) {
    if (sparse && !sparse(i)) continue;
    spec.layers[i].feed_forward.width = inner;
    spec.layers[i].feed_forward.experts.count = *count;
    spec.layers[i].feed_forward.experts.used = used;
  }
}

void SpecReader::biases(bool qkv_by_default, bool output_too) {
  if (gguf()) {
    spec.layout.qkv_bias = has_tensor("blk.0.attn_q.bias");
    spec.layout.output_bias = has_tensor("blk.0.attn_output.bias");
    spec.layout.feed_forward_bias = has_tensor("blk.0.ffn_up.bias");
    return;
  }
  spec.layout.qkv_bias = config().boolean("attention_bias").value_or(qkv_by_default);
  spec.layout.output_bias = output_too && spec.layout.qkv_bias;
  spec.layout.feed_forward_bias = config().boolean("mlp_bias").value_or(false);
}

ModelSpec SpecReader::finish() {
  check();
  refuse_unread();
  return std::move(spec);
}

namespace {

struct Bound {
  std::string_view what;
  std::size_t value, least, most;
};

}  // namespace

namespace {

void check_bound(const ModelFile& file, const Bound& bound) {
  if (bound.value >= bound.least && bound.value <= bound.most) return;
  fail_data("{}: {} {} is outside {} to {}", file.path().string(), bound.what, bound.value, bound.least,
            bound.most);
}

constexpr std::size_t kMaxContext = std::size_t{1} << 30U;

}  // namespace

// Before anything is made from them. The largest products of these (vocabulary x width, ...) stay far below
// 2^63.
void SpecReader::check_sizes() const {
  const AttentionShape& heads = spec.heads();
  const std::array<Bound, 6> bounds{{
      {"vocabulary size", spec.vocabulary, 1, std::size_t{1} << 21U},
      {"hidden size", spec.width, 1, std::size_t{1} << 17U},
      {"query heads", heads.query_heads, 1, 4096},
      {"KV heads", heads.kv_heads, 1, 4096},
      {"head dimension", heads.head_dim, 8, 512},
      {"context length", spec.context_length, 1, kMaxContext},
  }};
  for (const Bound& bound : bounds) check_bound(file_, bound);
}

void SpecReader::check() const {
  const std::string path = file_.path().string();
  const AttentionShape& heads = spec.heads();
  for (const LayerSpec& layer : spec.layers) {
    check_bound(file_, {"feed-forward size", layer.feed_forward.width, 1, std::size_t{1} << 20U});
    check_bound(file_, {"sliding window", layer.attention.shape.sliding_window, 0, kMaxContext});
    const int rope = layer.attention.rope;
    if (rope >= 0 && static_cast<std::size_t>(rope) >= spec.ropes.size())
      fail_data("{}: a layer has no table of positions", path);
    if (!std::isfinite(layer.attention.shape.scale) || layer.attention.shape.scale < 0 ||
        layer.attention.shape.softcap < 0) {
      fail_data("{}: the attention scale or soft-cap is not a positive number", path);
    }
  }
  if (heads.query_heads % heads.kv_heads != 0) {
    fail_data("{}: {} query heads cannot share {} KV heads evenly", path, heads.query_heads, heads.kv_heads);
  }
  if (heads.head_dim % 8 != 0)
    fail_data("{}: head dimension {} is not a multiple of 8", path, heads.head_dim);
  if (!std::isfinite(spec.epsilon) || spec.epsilon < 0 || spec.epsilon > 1) {
    fail_data("{}: norm epsilon {} is outside 0 to 1", path, spec.epsilon);
  }
  for (const float scale : {spec.embedding_scale, spec.residual_scale, spec.logit_scale}) {
    if (!std::isfinite(scale) || scale == 0)
      fail_data("{}: a multiplier is {}, which cannot be", path, scale);
  }
  if (!std::isfinite(spec.logit_softcap) || spec.logit_softcap < 0) {
    fail_data("{}: the final soft-cap {} is not a positive number", path, spec.logit_softcap);
  }
  const std::size_t tokens = file_.tokenizer().tokens.size();
  if (tokens != 0 && tokens != spec.vocabulary) {
    fail_data("{}: the tokenizer has {} tokens, the model's embedding {}", path, tokens, spec.vocabulary);
  }
}

// Keys that say nothing about the result of a forward pass.
void SpecReader::refuse_unread() const {
  static constexpr std::array<std::string_view, 62> harmless_hf{"model_type",
                                                                "architectures",
                                                                "torch_dtype",
                                                                "dtype",
                                                                "transformers_version",
                                                                "use_cache",
                                                                "pad_token_id",
                                                                "bos_token_id",
                                                                "eos_token_id",
                                                                "unk_token_id",
                                                                "sep_token_id",
                                                                "decoder_start_token_id",
                                                                "vocab_size",
                                                                "initializer_range",
                                                                "pretraining_tp",
                                                                "attention_dropout",
                                                                "hidden_dropout",
                                                                "embd_pdrop",
                                                                "resid_pdrop",
                                                                "attn_pdrop",
                                                                "output_attentions",
                                                                "output_hidden_states",
                                                                "return_dict",
                                                                "_name_or_path",
                                                                "name_or_path",
                                                                "id2label",
                                                                "label2id",
                                                                "num_labels",
                                                                "problem_type",
                                                                "tokenizer_class",
                                                                "prefix",
                                                                "task_specific_params",
                                                                "finetuning_task",
                                                                "chunk_size_feed_forward",
                                                                "router_aux_loss_coef",
                                                                "output_router_logits",
                                                                "router_jitter_noise",
                                                                "_attn_implementation",
                                                                "attn_implementation",
                                                                "_attn_implementation_autoset",
                                                                "cache_implementation",
                                                                "torchscript",
                                                                "auto_map",
                                                                "unsloth_fixed",
                                                                "unsloth_version",
                                                                "license",
                                                                "max_length",
                                                                "min_length",
                                                                "do_sample",
                                                                "temperature",
                                                                "top_k",
                                                                "top_p",
                                                                "repetition_penalty",
                                                                "num_return_sequences",
                                                                "num_beams",
                                                                "is_llama_config",
                                                                "rope_interleaved",
                                                                "transformers.js_config",
                                                                "model_name",
                                                                "quantization_config",
                                                                "bad_words_ids",
                                                                "begin_suppress_tokens"};
  static constexpr std::array<std::string_view, 3> false_hf{"is_encoder_decoder", "add_cross_attention",
                                                            "tie_encoder_decoder"};
  static constexpr std::array<std::string_view, 5> harmless_gguf{
      "vocab_size", "rope.scaling.finetuned", "tokenizer_tokens_count", "tensor_data_layout",
      "interleave_moe_layer_step"};
  for (const std::string& key : config().unread()) {
    if (gguf()) {
      if (std::find(harmless_gguf.begin(), harmless_gguf.end(), key) != harmless_gguf.end()) continue;
      config().fail(key, "is not known to this program and may change the result");
    }
    if (std::find(harmless_hf.begin(), harmless_hf.end(), key) != harmless_hf.end()) continue;
    if (std::find(false_hf.begin(), false_hf.end(), key) != false_hf.end() &&
        !config().boolean(key).value_or(true)) {
      continue;
    }
    config().fail(key, "is not known to this program and may change the result; remove it if it does not");
  }
}

ModelSpec read_spec(const ModelFile& file) {
  const bool gguf = file.kind() == Container::Gguf;
  const auto name = [&](const Family& f) { return gguf ? f.gguf : f.hf; };
  for (const Family& family : families()) {
    if (name(family) != file.architecture() || name(family).empty()) continue;
    SpecReader reader(file);
    family.read(reader);
    return reader.finish();
  }
  std::string known;
  for (const Family& family : families()) {
    if (!name(family).empty()) known += (known.empty() ? "" : ", ") + std::string(name(family));
  }
  fail_data("{}: architecture \"{}\" is not supported; these are: {}", file.path().string(),
            printable(file.architecture()), known);
}

}  // namespace thinkey
