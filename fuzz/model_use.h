// What the program does with a model file that has opened: everything it says is printed, and every tensor
// read.
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

#include "backend/cpu/ops/dequantize.h"
#include "formats/model_file.h"

namespace thinkey::fuzz {

inline void use(const ModelFile& model) {
  std::size_t text = model.container().size() + model.name().size();
  for (const auto& [key, value] : model.metadata()) text += key.size() + value.size();
  constexpr std::size_t kMostColumns = 1 << 16;
  std::vector<float> row;
  for (const Tensor& tensor : model.tensors()) {
    if (tensor.cols > static_cast<std::int64_t>(kMostColumns)) continue;
    const auto cols = static_cast<std::size_t>(tensor.cols);
    const std::size_t stride = row_bytes(tensor.type, cols);
    row.resize(std::max<std::size_t>(row.size(), cols));
    widen_row(tensor.type, tensor.data, cols, row.data());
    widen_row(tensor.type, tensor.data + (tensor.bytes - stride), cols, row.data());
  }
  volatile std::size_t sink = text;
  static_cast<void>(sink);
}

}  // namespace thinkey::fuzz
