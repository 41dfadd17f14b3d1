#include "model/weights.h"

#include <string>
#include <string_view>

#include "base/fail.h"
#include "ops/dequantize.h"
#include "ops/matvec_int8.h"
#include "ops/packed_matrix.h"

namespace thinkey {
namespace {

// check_model() has seen to it that every tensor is there with its shape.
const Tensor& tensor(const ModelFile& file, const std::string& name) {
  const Tensor* found = file.find(name);
  if (found == nullptr) fail_data("tensor {} is missing; convert the model again", name);
  return *found;
}

MatrixView matrix(const ModelFile& file, const std::string& name) {
  const Tensor& t = tensor(file, name);
  return {.type = t.type, .rows = t.rows, .cols = t.cols, .data = t.data};
}

AlignedBuffer<float> vector(const ModelFile& file, const std::string& name) {
  const Tensor& t = tensor(file, name);
  AlignedBuffer<float> out(static_cast<std::size_t>(t.cols));
  widen_row(t.type, t.data, out.size(), out.data());
  return out;
}

LayerWeights layer(const ModelFile& file, std::int64_t index) {
  const auto name = [&](std::string_view part) { return fmt::format("blk.{}.{}.weight", index, part); };
  LayerWeights w;
  w.attention_norm = vector(file, name("attn_norm"));
  w.query = matrix(file, name("attn_q"));
  w.key = matrix(file, name("attn_k"));
  w.value = matrix(file, name("attn_v"));
  w.attention_output = matrix(file, name("attn_output"));
  w.ffn_norm = vector(file, name("ffn_norm"));
  w.gate = matrix(file, name("ffn_gate"));
  w.up = matrix(file, name("ffn_up"));
  w.down = matrix(file, name("ffn_down"));
  return w;
}

}  // namespace

Weights::Weights(const ModelFile& file)
    : token_embedding(matrix(file, "token_embd.weight")),
      output_norm(vector(file, "output_norm.weight")),
      output(file.hyperparameters().tied_output ? token_embedding : matrix(file, "output.weight")) {
  const std::int64_t count = file.hyperparameters().layers;
  layers.reserve(static_cast<std::size_t>(count));
  for (std::int64_t i = 0; i < count; ++i) layers.push_back(layer(file, i));
}

void Weights::repack(std::size_t memory) {
  if (!cpu_multiplies_int8()) return;
  const auto size = [](const MatrixView& m) {
    return packed_bytes(m.type, static_cast<std::size_t>(m.rows), static_cast<std::size_t>(m.cols));
  };
  std::size_t bytes = 0;
  for_each_matrix([&](const MatrixView& m) { bytes += size(m); });
  if (memory > 0 && bytes > memory) {
    constexpr std::size_t kMebibyte = std::size_t{1} << 20U;
    fail_data(
        "repacking the weights takes {} MiB but {} MiB are available; use --no-repack, or a machine with "
        "more memory",
        bytes / kMebibyte, memory / kMebibyte);
  }
  repacked_ = AlignedBuffer<std::byte>(bytes);
  std::byte* next = repacked_.data();
  visit_matrices(*this, [&](MatrixView& matrix) {
    if (!has_int8_product(matrix.type)) return;
    pack_matrix(matrix, next);
    matrix.packed = next;
    next += size(matrix);
  });
}

}  // namespace thinkey
