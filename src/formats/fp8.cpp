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
