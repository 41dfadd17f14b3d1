// Positions in model files: config.json's rope_parameters, rope_scaling and the older keys; GGUF's rope.*
// keys and tensors.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>

#include "base/fail.h"
#include "formats/printable.h"
#include "model/rope_scaling.h"
#include "model/spec_reader.h"

namespace thinkey {
namespace {

constexpr const char* kRopeFactors = "rope_freqs.weight";

double positive(const ConfigView& view, const std::string& key, double otherwise) {
  return view.has(key) ? view.require_positive(key) : otherwise;
}

std::vector<double> divided(std::vector<double> frequencies, const std::vector<double>& divisors) {
  for (std::size_t i = 0; i < frequencies.size(); ++i) frequencies[i] /= divisors[i];
  return frequencies;
}

}  // namespace

void SpecReader::rope(RopePairs pairs, const RopeOptions& options) {
  RopeSpec rope;
  rope.pairs = pairs;
  if (gguf()) {
    gguf_rope(rope, options);
  } else {
    hf_rope(rope, options);
  }
  const auto finite = [](const std::vector<float>& f) {
    return std::all_of(f.begin(), f.end(), [](float x) { return std::isfinite(x) && x >= 0; });
  };
  if (!finite(rope.inverse_frequencies) || !finite(rope.long_inverse_frequencies) ||
      !std::isfinite(rope.magnitude) || rope.magnitude <= 0) {
    fail_data("{}: the frequencies of its positions are not finite", file_.path().string());
  }
  spec.ropes.push_back(std::move(rope));
}

void SpecReader::hf_rope(RopeSpec& rope, const RopeOptions& options) const {
  const ConfigView& top = config();
  std::optional<ConfigView> parameters = top.object("rope_parameters");
  const std::optional<ConfigView> scaling = top.object("rope_scaling");
  if (parameters && scaling && parameters->json() != scaling->json()) {
    top.fail("rope_scaling", "differs from rope_parameters; keep the one that is meant");
  }
  if (scaling) parameters = scaling;
  // One table per kind of layer. Where there is only one, older files scale but the layers that see
  // everything.
  bool scaled = options.scaled;
  if (parameters && (parameters->is_object("full_attention") || parameters->is_object("sliding_attention"))) {
    for (const char* kind : {"full_attention", "sliding_attention"}) (void)parameters->object(kind);
    parameters = parameters->object(std::string(options.layer_type));
    scaled = true;
  }
  std::optional<double> theta = top.number(options.theta_key.hf);
  if (parameters && scaled && parameters->has("rope_theta")) {
    const double own = parameters->require_number("rope_theta");
    if (own <= 0) parameters->fail("rope_theta", "is not a positive number: RoPE base");
    if (theta && *theta != own)
      top.fail(options.theta_key.hf, "differs from the rope_theta of rope_parameters");
    theta = own;
  }
  rope.theta = theta.value_or(options.theta);
  if (rope.theta <= 0) top.fail(options.theta_key.hf, "is not a positive number: RoPE base");
  std::optional<double> share = top.number("partial_rotary_factor");
  if (parameters && parameters->has("partial_rotary_factor")) {
    const double own = parameters->require_positive("partial_rotary_factor");
    if (share && *share != own) top.fail("partial_rotary_factor", "differs from that of rope_parameters");
    share = own;
  }
  const double part = share.value_or(options.rotated_share);
  rope.rotated = static_cast<std::size_t>(static_cast<double>(spec.heads().head_dim) * part);
  if (part <= 0 || part > 1 || rope.rotated < 2 || rope.rotated % 2 != 0) {
    top.fail("partial_rotary_factor", "does not rotate an even number of a head's channels");
  }

  std::vector<double> frequencies = base_frequencies(rope.rotated, rope.theta);
  std::string type = "default";
  if (parameters) {
    const auto newer = parameters->text("rope_type");
    const auto older = parameters->text("type");
    if (newer && older && *newer != *older) parameters->fail("type", "differs from rope_type");
    type = newer.value_or(older.value_or("default"));
  }
  if (!scaled) type = "default";
  const auto context = static_cast<double>(spec.context_length);
  const auto original = [&] {
    const std::string key = "original_max_position_embeddings";
    const std::optional<double> above = top.number(key);
    if (!parameters->has(key)) return above.value_or(context);
    return parameters->require_positive(key);
  };
  if (type == "linear") {
    const double factor = parameters->require_positive("factor");
    for (double& frequency : frequencies) frequency /= factor;
  } else if (type == "llama3") {
    const Llama3Scaling llama3{.factor = parameters->require_positive("factor"),
                               .low_frequency_factor = parameters->require_positive("low_freq_factor"),
                               .high_frequency_factor = parameters->require_positive("high_freq_factor"),
                               .original_context = original()};
    if (llama3.high_frequency_factor <= llama3.low_frequency_factor) {
      parameters->fail("high_freq_factor", "is not greater than low_freq_factor");
    }
    apply_llama3_scaling(frequencies, llama3);
  } else if (type == "yarn") {
    const double trained = original();
    const double factor = positive(*parameters, "factor", context / trained);
    apply_yarn_scaling(frequencies, {.factor = factor,
                                     .beta_fast = positive(*parameters, "beta_fast", 32),
                                     .beta_slow = positive(*parameters, "beta_slow", 1),
                                     .original_context = trained,
                                     .theta = rope.theta,
                                     .truncate = parameters->boolean("truncate").value_or(true)});
    const double mscale = parameters->number("mscale").value_or(0);
    const double all = parameters->number("mscale_all_dim").value_or(0);
    double magnitude = mscale != 0 && all != 0 ? yarn_magnitude(factor, mscale) / yarn_magnitude(factor, all)
                                               : yarn_magnitude(factor);
    magnitude = positive(*parameters, "attention_factor", magnitude);
    rope.magnitude = static_cast<float>(magnitude);
  } else if (type == "longrope" || type == "su") {
    const double trained = original();
    const auto list = [&](const char* key) {
      const auto values = parameters->numbers(key);
      if (!values || values->size() != frequencies.size() ||
          !std::all_of(values->begin(), values->end(), [](double x) { return x > 0; })) {
        parameters->fail(key, fmt::format("is not a list of {} positive numbers", frequencies.size()));
      }
      return *values;
    };
    const double factor = positive(*parameters, "factor", context / trained);
    rope.magnitude =
        static_cast<float>(positive(*parameters, "attention_factor", longrope_magnitude(factor, trained)));
    rope.limit = static_cast<std::size_t>(trained);
    rope.long_inverse_frequencies = to_floats(divided(frequencies, list("long_factor")));
    frequencies = divided(frequencies, list("short_factor"));
    type = "longrope";
  } else if (type == "dynamic") {
    rope.dynamic_factor = parameters->require_positive("factor");
    rope.limit = spec.context_length;
  } else if (type != "default") {
    parameters->fail("rope_type",
                     fmt::format("\"{}\" is not supported (default, linear, llama3, yarn, longrope "
                                 "and dynamic are)",
                                 printable(type)));
  }
  rope.scaling = type == "default" ? "none" : type;
  rope.inverse_frequencies = to_floats(frequencies);
}

void SpecReader::same_base_everywhere() const {
  const Key key{"rope.freq_base_swa", ""};
  if (number(key).value_or(spec.ropes.front().theta) != spec.ropes.front().theta) {
    fail(key, "differs from rope.freq_base, which is not supported");
  }
}

std::vector<float> SpecReader::factors(const std::string& tensor_name, std::size_t pairs) const {
  const Tensor* tensor = file_.find(tensor_name);
  if (tensor == nullptr) return {};
  const std::string path = file_.path().string();
  if (tensor->type != TensorType::F32 || tensor->rows != 1 || tensor->planes != 1 ||
      static_cast<std::size_t>(tensor->cols) != pairs) {
    fail_data("{}: tensor {} is not a row of {} F32", path, tensor_name, pairs);
  }
  std::vector<float> out(pairs);
  std::memcpy(out.data(), tensor->data, pairs * sizeof(float));
  for (const float factor : out) {
    if (!std::isfinite(factor) || factor <= 0) {
      fail_data("{}: tensor {} holds {}, which is no divisor", path, tensor_name, factor);
    }
  }
  return out;
}

void SpecReader::gguf_rope(RopeSpec& rope, const RopeOptions& options) const {
  const ConfigView& keys = config();
  rope.theta = number(options.theta_key).value_or(options.theta);
  if (rope.theta <= 0) fail(options.theta_key, "is not a positive number: RoPE base");
  const auto dim = static_cast<std::int64_t>(spec.heads().head_dim);
  const auto share = static_cast<std::int64_t>(static_cast<double>(dim) * options.rotated_share);
  const std::int64_t rotated = integer({"rope.dimension_count", ""}).value_or(share);
  if (rotated < 2 || rotated > dim || rotated % 2 != 0) {
    keys.fail("rope.dimension_count", fmt::format("is {} but heads have {} channels", rotated, dim));
  }
  rope.rotated = static_cast<std::size_t>(rotated);
  std::vector<double> frequencies = base_frequencies(rope.rotated, rope.theta);

  // A factor without a type means linear scaling, as in llama.cpp.
  const std::string type = keys.text("rope.scaling.type").value_or("linear");
  double factor = keys.number("rope.scaling.factor").value_or(0);
  if (const double linear = keys.number("rope.scale_linear").value_or(0); factor == 0) factor = linear;
  if (factor == 0) factor = 1;  // absent or "not set"
  if (factor < 0) keys.fail("rope.scaling.factor", "is not a positive number");
  const auto context = static_cast<double>(spec.context_length);
  double trained = keys.number("rope.scaling.original_context_length").value_or(0);
  if (trained <= 0) trained = context;
  double magnitude = keys.number("rope.scaling.attn_factor").value_or(1);
  const double beta_fast = keys.number("rope.scaling.yarn_beta_fast").value_or(32);
  const double beta_slow = keys.number("rope.scaling.yarn_beta_slow").value_or(1);
  const double extrapolation = keys.number("rope.scaling.yarn_ext_factor").value_or(1);
  const std::optional<double> yarn_factor = keys.number("rope.scaling.yarn_attn_factor");
  const double all = keys.number("rope.scaling.yarn_log_multiplier").value_or(0);
  if (!options.scaled) {
    rope.inverse_frequencies = to_floats(frequencies);
    return;
  }
  const std::vector<float> long_factors = factors("rope_factors_long.weight", rope.rotated / 2);
  const std::vector<float> short_factors = factors("rope_factors_short.weight", rope.rotated / 2);
  if (long_factors.empty() != short_factors.empty()) {
    fail_data("{}: only one of rope_factors_long.weight and rope_factors_short.weight is there",
              file_.path().string());
  }
  if (type == "yarn") {
    if (extrapolation != 1) keys.fail("rope.scaling.yarn_ext_factor", "is not 1, which is not supported");
    apply_yarn_scaling(frequencies, {.factor = factor,
                                     .beta_fast = beta_fast,
                                     .beta_slow = beta_slow,
                                     .original_context = trained,
                                     .theta = rope.theta,
                                     .truncate = options.yarn_truncates});
    magnitude *=
        yarn_factor.value_or(yarn_magnitude(factor) / (all == 0 ? 1.0 : yarn_magnitude(factor, all)));
    rope.scaling = "yarn";
  } else if (type == "linear" || type == "longrope") {
    if (factor != 1) {
      rope.scaling = "linear";
      for (double& frequency : frequencies) frequency /= factor;
    }
  } else if (type != "none") {
    keys.fail("rope.scaling.type",
              fmt::format("\"{}\" is not supported (none, linear, yarn and longrope are)", printable(type)));
  }
  if (!long_factors.empty()) {
    rope.scaling = "longrope";
    rope.limit = static_cast<std::size_t>(trained);
    rope.long_inverse_frequencies =
        to_floats(divided(frequencies, {long_factors.begin(), long_factors.end()}));
    frequencies = divided(frequencies, {short_factors.begin(), short_factors.end()});
  }
  if (const std::vector<float> divisors = factors(kRopeFactors, rope.rotated / 2); !divisors.empty()) {
    rope.scaling = "llama3";
    frequencies = divided(frequencies, {divisors.begin(), divisors.end()});
  }
  rope.magnitude = static_cast<float>(magnitude);
  rope.inverse_frequencies = to_floats(frequencies);
}

}  // namespace thinkey
