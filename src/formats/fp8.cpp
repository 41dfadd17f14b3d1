#include "formats/fp8.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "base/fail.h"
#include "base/parallel.h"
#include "formats/printable.h"

namespace thinkey {
namespace {

std::array<float, 256> make_codes() {
  std::array<float, 256> codes{};
  for (unsigned i = 0; i < 256; ++i) {
    const unsigned exponent = (i >> 3U) & 15U;
    const auto mantissa = static_cast<float>(i & 7U);
    float value = exponent == 0 ? std::ldexp(mantissa, -9)
                                : std::ldexp(1.0F + mantissa / 8.0F, static_cast<int>(exponent) - 7);
    if ((i & 0x7FU) == 0x7FU) value = std::numeric_limits<float>::quiet_NaN();
    codes[i] = (i & 0x80U) != 0 ? -value : value;
  }
  return codes;
}

const std::array<float, 256>& codes() noexcept {
  static const std::array<float, 256> table = make_codes();
  return table;
}

// Every key of `object` must be one of `known`.
void refuse_unknown(const JsonView& object, std::initializer_list<std::string_view> known) {
  for (const auto& [key, value] : object.json().items()) {
    if (std::find(known.begin(), known.end(), key) == known.end() && !value.is_null()) {
      object.fail(key, "is not supported in a quantized model; use the unquantized model or a GGUF file");
    }
  }
}

void require(const JsonView& object, const std::string& key, std::string_view wanted) {
  const auto found = object.text(key);
  if (found && *found != wanted) {
    object.fail(key, fmt::format("\"{}\" is not supported ({} is)", printable(*found), wanted));
  }
}

void require_activation_scheme(const JsonView& object) {
  const std::string scheme = object.text("activation_scheme").value_or("dynamic");
  if (scheme != "dynamic" && scheme != "static") {
    object.fail("activation_scheme",
                fmt::format("\"{}\" is not supported (dynamic and static are)", printable(scheme)));
  }
}

std::optional<std::array<std::int64_t, 2>> block_shape(const JsonView& object, const std::string& key) {
  const Json* list = object.array(key);
  if (list == nullptr) return std::nullopt;
  constexpr std::int64_t kMost = 1 << 20;
  std::array<std::int64_t, 2> block{};
  for (std::size_t i = 0; i < 2; ++i) {
    const auto size = list->size() == 2 ? as_integer((*list)[i]) : std::nullopt;
    if (!size || *size < 1 || *size > kMost) object.fail(key, "is not a pair of sizes");
    block[i] = *size;
  }
  return block;
}

Fp8Config read_fp8(const JsonView& quantization) {
  // Which modules are quantized shows in their tensors' dtype, whatever the lists of them say.
  refuse_unknown(quantization,
                 {"quant_method", "activation_scheme", "weight_block_size", "modules_to_not_convert",
                  "modules_to_convert", "ignored_layers", "dequantize", "fmt", "scale_fmt", "expert_dtype"});
  require(quantization, "fmt", "e4m3");
  require(quantization, "expert_dtype", "fp8");
  require_activation_scheme(quantization);
  const std::string scales = quantization.text("scale_fmt").value_or("float");
  if (scales != "float" && scales != "ue8m0") {
    quantization.fail("scale_fmt",
                      fmt::format("\"{}\" is not supported (float and ue8m0 are)", printable(scales)));
  }
  Fp8Config config{.block = block_shape(quantization, "weight_block_size")};
  // Left out, which is not the same as null, it is transformers' default.
  if (!quantization.json().contains("weight_block_size")) config.block = {128, 128};
  return config;
}

// One group of compressed-tensors' config_groups.
void read_group(const JsonView& group, Fp8Config& config) {
  refuse_unknown(group, {"weights", "input_activations", "output_activations", "targets", "format"});
  require(group, "format", "float-quantized");
  const auto weights = group.object("weights");
  if (!weights) group.fail("weights", "is missing");
  if (weights->integer("num_bits").value_or(8) != 8) weights->fail("num_bits", "is not 8");
  if (!weights->boolean("symmetric").value_or(true)) weights->fail("symmetric", "is false");
  require(*weights, "type", "float");
  if (weights->text("actorder")) weights->fail("actorder", "is not supported");
  const std::string strategy = weights->text("strategy").value_or("tensor");
  if (strategy == "block") {
    config.block = block_shape(*weights, "block_structure");
    if (!config.block) weights->fail("block_structure", "is missing");
  } else if (strategy != "tensor" && strategy != "channel") {
    weights->fail("strategy", fmt::format("\"{}\" is not supported (tensor, channel and block are)",
                                          printable(strategy)));
  }
}

Fp8Config read_compressed_tensors(const JsonView& quantization) {
  refuse_unknown(quantization,
                 {"quant_method", "format", "quantization_status", "config_groups", "ignore",
                  "global_compression_ratio", "version", "sparsity_config", "transform_config"});
  require(quantization, "format", "float-quantized");
  require(quantization, "quantization_status", "compressed");
  for (const char* key : {"sparsity_config", "transform_config"}) {
    const auto object = quantization.object(key);
    if (object && !object->json().empty()) quantization.fail(key, "is not supported");
  }
  const auto groups = quantization.object("config_groups");
  if (!groups || groups->json().empty()) quantization.fail("config_groups", "is missing or empty");
  Fp8Config config;
  for (const auto& [name, value] : groups->json().items()) {
    const auto group = groups->object(name);
    if (!group) groups->fail(name, "is not an object");
    read_group(*group, config);
  }
  return config;
}

// The scales as f32, in their own order.
std::vector<float> scale_values(const SafetensorsTensor& scale) {
  if (scale.type != SafetensorsType::F8_E8M0 && scale.type != SafetensorsType::F32 &&
      scale.type != SafetensorsType::F16 && scale.type != SafetensorsType::BF16) {
    fail_data("tensor {} has dtype {}; a scale is F32, F16, BF16 or F8_E8M0", printable(scale.name),
              name(scale.type));
  }
  std::vector<float> values;
  if (scale.type == SafetensorsType::F8_E8M0) {
    for (const std::byte exponent : scale.bytes) {
      values.push_back(std::ldexp(1.0F, static_cast<int>(exponent) - 127));
    }
  } else {
    values = to_floats(scale);
  }
  for (const float value : values) {
    if (!std::isfinite(value))
      fail_data("tensor {} holds {}, which is no scale", printable(scale.name), value);
  }
  return values;
}

// How many rows and columns share a scale.
std::array<std::int64_t, 2> shared(const SafetensorsTensor& weight, const SafetensorsTensor& scale,
                                   const Fp8Config& config) {
  const std::int64_t rows = weight.shape[0];
  const std::int64_t cols = weight.shape[1];
  const auto parts = [](std::int64_t size, std::int64_t part) { return (size + part - 1) / part; };
  if (scale.elements() == 1 && scale.shape.size() <= 2) return {rows, cols};
  if (config.block) {
    const auto& block = *config.block;
    if (scale.shape == std::vector<std::int64_t>{parts(rows, block[0]), parts(cols, block[1])}) return block;
  } else if (scale.shape == std::vector<std::int64_t>{rows, 1} ||
             scale.shape == std::vector<std::int64_t>{rows}) {
    return {1, cols};
  }
  fail_data("tensor {} of {} numbers does not fit the {} rows and {} columns of {}", printable(scale.name),
            scale.elements(), rows, cols, printable(weight.name));
}

}  // namespace

float f32_from_e4m3(std::uint8_t code) noexcept { return codes()[code]; }

std::optional<Fp8Config> read_fp8_config(const JsonView& config) {
  const auto quantization = config.object("quantization_config");
  if (!quantization) return std::nullopt;
  const std::string method = quantization->text("quant_method").value_or("unknown");
  if (method == "fp8") return read_fp8(*quantization);
  if (method == "compressed-tensors") return read_compressed_tensors(*quantization);
  quantization->fail(
      "quant_method",
      fmt::format("\"{}\" is not supported (fp8 and compressed-tensors are); use the unquantized "
                  "model or a GGUF file",
                  printable(method)));
}

bool is_fp8_scale(std::string_view name) noexcept {
  static constexpr std::array<std::string_view, 4> endings{".weight_scale_inv", ".weight_scale",
                                                           ".activation_scale", ".input_scale"};
  return std::any_of(endings.begin(), endings.end(),
                     [&](std::string_view end) { return name.ends_with(end); });
}

const SafetensorsTensor& fp8_scale(const SafetensorsTensor& weight,
                                   const std::function<const SafetensorsTensor*(std::string_view)>& find) {
  for (const char* end : {"_scale_inv", "_scale"}) {
    if (const SafetensorsTensor* scale = find(weight.name + end)) return *scale;
  }
  fail_data("tensor {} has dtype {}, but there is no tensor {}_scale_inv or {}_scale", printable(weight.name),
            name(weight.type), printable(weight.name), printable(weight.name));
}

AlignedBuffer<bf16_bits> expand_fp8(const SafetensorsTensor& weight, const SafetensorsTensor& scale,
                                    const Fp8Config& config) {
  if (weight.type != SafetensorsType::F8_E4M3) {
    fail_data("tensor {} has dtype {}; F8_E4M3 is supported", printable(weight.name), name(weight.type));
  }
  if (weight.shape.size() != 2 || weight.bytes.empty()) {
    fail_data("tensor {} has dtype {} but is not a matrix", printable(weight.name), name(weight.type));
  }
  const std::vector<float> scales = scale_values(scale);
  const std::array<std::int64_t, 2> block = shared(weight, scale, config);
  const auto cols = static_cast<std::size_t>(weight.shape[1]);
  const auto wide = static_cast<std::size_t>(block[1]);
  const std::size_t grid_cols = (cols + wide - 1) / wide;
  AlignedBuffer<bf16_bits> out(weight.elements());
  parallel_for(static_cast<std::size_t>(weight.shape[0]), [&](std::size_t row) {
    const float* row_scales = scales.data() + row / static_cast<std::size_t>(block[0]) * grid_cols;
    const std::byte* from = weight.bytes.data() + row * cols;
    bf16_bits* to = out.data() + row * cols;
    for (std::size_t c = 0; c < cols; ++c) {
      to[c] = bf16_from_f32(codes()[static_cast<std::uint8_t>(from[c])] * row_scales[c / wide]);
    }
  });
  return out;
}

}  // namespace thinkey
