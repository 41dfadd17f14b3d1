// quantization_config of config.json: how a checkpoint's weights are stored.
#pragma once

#include <optional>

#include "formats/fp8.h"
#include "formats/json.h"

namespace thinkey {

struct HfQuantization {
  std::optional<Fp8Config> fp8;  // "fp8", or compressed-tensors' "float-quantized"
  bool mxfp4 = false;            // gpt-oss: experts as pairs of _blocks and _scales
};

// Nothing of both when there is no such key. Throws Error(Data) naming the key for other methods and for
// whatever would change the weights' meaning.
[[nodiscard]] HfQuantization read_hf_quantization(const JsonView& config);

}  // namespace thinkey
