#include "formats/hf_quantization.h"

#include <algorithm>
#include <array>
#include <string>
#include <string_view>

#include "base/fail.h"
#include "formats/printable.h"

namespace thinkey {
namespace {

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

}  // namespace

HfQuantization read_hf_quantization(const JsonView& config) {
  const auto quantization = config.object("quantization_config");
  if (!quantization) return {};
  const std::string method = quantization->text("quant_method").value_or("unknown");
  if (method == "fp8") return {.fp8 = read_fp8(*quantization)};
  if (method == "compressed-tensors") return {.fp8 = read_compressed_tensors(*quantization)};
  if (method == "mxfp4") {
    refuse_unknown(*quantization, {"quant_method", "modules_to_not_convert", "dequantize"});
    return {.mxfp4 = true};
  }
  quantization->fail("quant_method",
                     fmt::format("\"{}\" is not supported (fp8, mxfp4 and compressed-tensors are); use the "
                                 "unquantized model or a GGUF file",
                                 printable(method)));
}

}  // namespace thinkey
