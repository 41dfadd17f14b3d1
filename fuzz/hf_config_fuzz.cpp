// config.json of a directory whose weights are sound: parsed within limits, its quantization read, every
// value shown. Behind a zero byte: tokenizer.json, if there is one.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

#include "formats/hf_quantization.h"
#include "formats/json.h"
#include "formats/safetensors.h"
#include "fuzz/model_use.h"
#include "fuzz/temporary_files.h"
#include "thinkey/error.h"

namespace thinkey {
namespace {

// A vector, a matrix and one of 8-bit floats with its scale.
void write_weights(const std::filesystem::path& path) {
  static const std::vector<std::byte> zeros(512);
  const std::span<const std::byte> bytes(zeros);
  const std::vector<SafetensorsTensor> tensors{
      {"model.norm.weight", SafetensorsType::F32, {8}, bytes.first(32)},
      {"model.embed_tokens.weight", SafetensorsType::BF16, {8, 8}, bytes.first(128)},
      {"model.layers.0.self_attn.q_proj.weight", SafetensorsType::F8_E4M3, {8, 8}, bytes.first(64)},
      {"model.layers.0.self_attn.q_proj.weight_scale_inv", SafetensorsType::F32, {1, 1}, bytes.first(4)},
      {"model.layers.0.mlp.experts.down_proj_blocks", SafetensorsType::U8, {2, 2, 1, 16}, bytes.first(64)},
      {"model.layers.0.mlp.experts.down_proj_scales", SafetensorsType::U8, {2, 2, 1}, bytes.first(4)}};
  write_safetensors(path, tensors);
}

}  // namespace
}  // namespace thinkey

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace thinkey;  // NOLINT(google-build-using-namespace)
  static const fuzz::TemporaryFiles files;
  static const bool written = (write_weights(files.path() / "model.safetensors"), true);
  static_cast<void>(written);
  const auto* const zero = size == 0 ? nullptr : static_cast<const std::uint8_t*>(std::memchr(data, 0, size));
  const std::size_t config = zero == nullptr ? size : static_cast<std::size_t>(zero - data);
  files.write("config.json", data, config);
  if (zero != nullptr) files.write("tokenizer.json", zero + 1, size - config - 1);
  try {
    fuzz::use(*open_model_file(files.path()));
  } catch (const Error&) {
  }
  if (zero != nullptr) files.remove("tokenizer.json");
  return 0;
}
