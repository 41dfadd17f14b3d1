#include "formats/hf_config.h"

#include <cmath>
#include <string>
#include <string_view>

#include "base/fail.h"
#include "formats/printable.h"
#include "formats/rope_frequencies.h"

namespace thinkey {
namespace {

// What transformers assumes for a key that config.json leaves out.
struct Defaults {
  std::int64_t context_length;
  std::optional<std::int64_t> kv_heads;  // nullopt: as many as query heads
  std::int64_t sliding_window;
};

constexpr Defaults kLlamaDefaults{2048, std::nullopt, 0};
constexpr Defaults kMistralDefaults{131072, 8, 4096};

void refuse_if_true(const JsonView& config, const std::string& key) {
  if (config.boolean(key).value_or(false)) config.fail(key, "is true, which is not supported");
}

void refuse_other_models(const JsonView& config) {
  const std::string type = config.require_text("model_type");
  if (type != "llama" && type != "mistral") {
    config.fail("model_type",
                fmt::format("\"{}\" is not supported (llama and mistral are)", printable(type)));
  }
  refuse_if_true(config, "attention_bias");
  refuse_if_true(config, "mlp_bias");
  const std::string activation = config.text("hidden_act").value_or("silu");
  if (activation != "silu") {
    config.fail("hidden_act", fmt::format("\"{}\" is not supported (silu is)", printable(activation)));
  }
  const std::string dtype = config.text("dtype").value_or(config.text("torch_dtype").value_or("float32"));
  if (dtype != "float32" && dtype != "float16" && dtype != "bfloat16" && dtype != "auto") {
    config.fail("dtype",
                fmt::format("\"{}\" is not supported (float32, float16 and bfloat16 are)", printable(dtype)));
  }
}

double positive(const JsonView& object, const std::string& key) {
  const double value = object.require_number(key);
  if (!std::isfinite(value) || value <= 0) object.fail(key, "is not a positive number");
  return value;
}

// transformers 5 has rope_parameters, which also holds rope_theta; older files rope_theta and rope_scaling.
void set_rope(const JsonView& config, Hyperparameters& h) {
  auto scaling = config.object("rope_parameters");
  if (!scaling) scaling = config.object("rope_scaling");
  double theta = config.number("rope_theta").value_or(10000.0);
  std::string type = "default";
  if (scaling) {
    theta = scaling->number("rope_theta").value_or(theta);
    type = scaling->text("rope_type").value_or(scaling->text("type").value_or("default"));
    if (scaling->number("partial_rotary_factor").value_or(1.0) != 1.0) {
      scaling->fail("partial_rotary_factor", "is not 1: partial RoPE is not supported");
    }
    for (const auto& [key, value] : scaling->json().items()) {
      if (value.is_object()) scaling->fail(key, "is an object: RoPE that differs by layer is not supported");
    }
  }
  if (config.number("partial_rotary_factor").value_or(1.0) != 1.0) {
    config.fail("partial_rotary_factor", "is not 1: partial RoPE is not supported");
  }
  h.rope_theta = static_cast<float>(theta);
  check_hyperparameters(h, config.path());  // head_dim and theta, before anything is made from them

  std::vector<double> frequencies = rope_frequencies(h.head_dim, theta);
  if (type == "linear") {
    const double factor = positive(*scaling, "factor");
    for (double& frequency : frequencies) frequency /= factor;
  } else if (type == "llama3") {
    // transformers falls back to the context length when the original one is not given.
    const bool original = scaling->find("original_max_position_embeddings") != nullptr;
    const Llama3Scaling llama3{
        .factor = positive(*scaling, "factor"),
        .low_frequency_factor = positive(*scaling, "low_freq_factor"),
        .high_frequency_factor = positive(*scaling, "high_freq_factor"),
        .original_context = original ? positive(*scaling, "original_max_position_embeddings")
                                     : static_cast<double>(h.context_length)};
    if (llama3.high_frequency_factor <= llama3.low_frequency_factor) {
      scaling->fail("high_freq_factor", "is not greater than low_freq_factor");
    }
    apply_llama3_scaling(frequencies, llama3);
  } else if (type != "default") {
    scaling->fail("rope_type",
                  fmt::format("\"{}\" is not supported (default, linear and llama3 are)", printable(type)));
  }
  h.rope_scaling = type == "default" ? "none" : type;
  h.rope_inverse_frequencies = to_floats(frequencies);
}

// Mistral's window; Llama has none, and transformers ignores the key there.
std::int64_t sliding_window(const JsonView& config, const Hyperparameters& h, const Defaults& defaults) {
  if (h.architecture != "mistral") return 0;
  std::int64_t window = defaults.sliding_window;
  if (config.json().contains("sliding_window")) window = config.integer("sliding_window").value_or(0);
  // transformers ignores layer_types here; refuse a file in which they contradict the window.
  const std::string_view expected = window > 0 ? "sliding_attention" : "full_attention";
  if (const Json* layer_types = config.array("layer_types")) {
    for (const Json& type : *layer_types) {
      if (type != expected) {
        config.fail("layer_types", fmt::format("are not all {}, which is not supported", expected));
      }
    }
  }
  return window;
}

}  // namespace

std::vector<std::int64_t> id_list(const JsonView& object, const std::string& key) {
  const Json* value = object.find(key);
  std::vector<std::int64_t> ids;
  if (value == nullptr) return ids;
  if (!value->is_array()) {
    ids.push_back(object.require_integer(key));
    return ids;
  }
  for (const Json& item : *value) {
    const auto id = as_integer(item);
    if (!id) object.fail(key, "holds something that is not an id");
    ids.push_back(*id);
  }
  return ids;
}

HfConfig read_hf_config(const JsonView& config) {
  refuse_other_models(config);
  HfConfig out;
  Hyperparameters& h = out.hyperparameters;
  h.architecture = config.require_text("model_type");
  const Defaults& defaults = h.architecture == "mistral" ? kMistralDefaults : kLlamaDefaults;
  h.name = config.text("_name_or_path").value_or("");
  h.vocabulary = config.require_integer("vocab_size");
  h.layers = config.require_integer("num_hidden_layers");
  h.width = config.require_integer("hidden_size");
  h.ffn_width = config.require_integer("intermediate_size");
  h.query_heads = config.require_integer("num_attention_heads");
  // null means "as many as query heads" in both; only an absent key takes the class's default.
  h.kv_heads = config.json().contains("num_key_value_heads") ? h.query_heads
                                                             : defaults.kv_heads.value_or(h.query_heads);
  h.kv_heads = config.integer("num_key_value_heads").value_or(h.kv_heads);
  if (const auto head_dim = config.integer("head_dim")) {
    h.head_dim = *head_dim;
  } else {
    if (h.query_heads <= 0 || h.width % h.query_heads != 0) {
      config.fail("num_attention_heads", "does not divide hidden_size, and head_dim is missing");
    }
    h.head_dim = h.width / h.query_heads;
  }
  h.context_length = config.integer("max_position_embeddings").value_or(defaults.context_length);
  h.rms_epsilon = static_cast<float>(config.number("rms_norm_eps").value_or(1e-6));
  h.sliding_window = sliding_window(config, h, defaults);
  h.rope_layout = RopeLayout::HalfSplit;
  out.tied = config.boolean("tie_word_embeddings");
  h.tied_output = out.tied.value_or(false);
  out.bos = config.integer("bos_token_id");
  out.eos = id_list(config, "eos_token_id");
  out.fp8 = read_fp8_config(config);
  set_rope(config, h);
  return out;
}

}  // namespace thinkey
