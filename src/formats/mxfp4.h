// MXFP4 experts as gpt-oss's safetensors hold them, in the order of TensorType::MXFP4.
#pragma once

#include <cstddef>
#include <span>

#include "base/aligned_buffer.h"
#include "formats/safetensors.h"

namespace thinkey {

struct Mxfp4Matrix {
  std::size_t rows = 0;  // of all experts
  std::size_t cols = 0;  // a multiple of 32
  AlignedBuffer<std::byte> data;
};

// From "..._blocks" [..., rows, groups, 16] and "..._scales" [..., rows, groups], both U8: byte i of a group
// of 32 holds weights 2 i (low nibble) and 2 i + 1. A copy of the same size, in parallel; rows are those of
// all leading dimensions together. Throws Error(Data) naming the tensor for other shapes.
[[nodiscard]] Mxfp4Matrix read_mxfp4(const SafetensorsTensor& blocks, const SafetensorsTensor& scales);

// One group: 16 bytes and the exponent to a block of 17 bytes, weight i < 16 in byte 1 + i, low, and weight
// 16 + i beside it, high.
void reorder_mxfp4(const std::byte* codes, std::byte exponent, std::byte* block) noexcept;

}  // namespace thinkey
