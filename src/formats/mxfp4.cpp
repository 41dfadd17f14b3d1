#include "formats/mxfp4.h"

#include <algorithm>

#include "base/fail.h"
#include "base/parallel.h"
#include "base/tensor_type.h"
#include "formats/printable.h"

namespace thinkey {
namespace {

constexpr std::size_t kCodeBytes = 16;
constexpr std::size_t kBlockBytes = traits(TensorType::MXFP4).block_bytes;

}  // namespace

void reorder_mxfp4(const std::byte* codes, std::byte exponent, std::byte* block) noexcept {
  const auto weight = [&](std::size_t i) {
    return (i % 2 == 0 ? codes[i / 2] : codes[i / 2] >> 4U) & std::byte{0x0F};
  };
  block[0] = exponent;
  for (std::size_t i = 0; i < kCodeBytes; ++i) block[1 + i] = weight(i) | (weight(16 + i) << 4U);
}

Mxfp4Matrix read_mxfp4(const SafetensorsTensor& blocks, const SafetensorsTensor& scales) {
  for (const SafetensorsTensor* tensor : {&blocks, &scales}) {
    if (tensor->type != SafetensorsType::U8) {
      fail_data("tensor {} has dtype {}; MXFP4 is stored as U8", printable(tensor->name), name(tensor->type));
    }
  }
  const std::vector<std::int64_t>& shape = blocks.shape;
  if (shape.size() < 3 || shape.back() != static_cast<std::int64_t>(kCodeBytes) || blocks.bytes.empty() ||
      !std::equal(shape.begin(), shape.end() - 1, scales.shape.begin(), scales.shape.end())) {
    fail_data("tensors {} and {} do not have the shapes of MXFP4: [..., groups, 16] and [..., groups]",
              printable(blocks.name), printable(scales.name));
  }
  const std::size_t groups = static_cast<std::size_t>(scales.shape.back());
  const std::size_t rows = scales.bytes.size() / groups;
  Mxfp4Matrix out{
      .rows = rows, .cols = 32 * groups, .data = AlignedBuffer<std::byte>(rows * groups * kBlockBytes)};
  parallel_for(rows, [&](std::size_t row) {
    for (std::size_t g = row * groups; g < (row + 1) * groups; ++g) {
      reorder_mxfp4(blocks.bytes.data() + g * kCodeBytes, scales.bytes[g], out.data.data() + g * kBlockBytes);
    }
  });
  return out;
}

}  // namespace thinkey
