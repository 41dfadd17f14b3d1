#include "model/expert_tensors.h"

#include <cstring>
#include <string_view>

#include "backend/cpu/ops/dequantize.h"
#include "base/fail.h"
#include "model/tensor_table.h"

namespace thinkey {

const Tensor& checked_tensor(const ModelFile& file, const std::string& name, std::size_t planes,
                             std::size_t rows, std::size_t cols) {
  const std::string path = file.path().string();
  const Tensor* tensor = file.find(name);
  if (tensor == nullptr) fail_data("{}: tensor {} is missing", path, name);
  // A bias per expert is written [E, n] as two dimensions.
  const bool flat = planes > 1 && rows == 1 && tensor->planes == 1 && tensor->rows == planes;
  if ((tensor->planes != planes || tensor->rows != rows) && !flat) {
    fail_data("{}: tensor {} has {} x {} rows where the hyperparameters ask for {} x {}", path, name,
              tensor->planes, tensor->rows, planes, rows);
  }
  if (tensor->cols != cols) {
    fail_data("{}: tensor {} has {} rows of {} columns where the hyperparameters ask for {} of {}", path,
              name, tensor->rows, tensor->cols, rows, cols);
  }
  const TensorTypeTraits& type = traits(tensor->type);
  if (cols % type.block_elements != 0) {
    fail_data("{}: tensor {}: {} columns do not make whole {} blocks of {}", path, name, cols, type.name,
              type.block_elements);
  }
  const std::size_t bytes = planes * rows * row_bytes(tensor->type, cols);
  if (tensor->data == nullptr || tensor->bytes != bytes) {
    fail_data("{}: tensor {} has the wrong number of bytes", path, name);
  }
  return *tensor;
}

namespace {

class Experts {
 public:
  explicit Experts(const ExpertSource& source)
      : s_(source),
        ffn_(source.spec.layers[source.layer].feed_forward),
        count_(ffn_.experts.count),
        inner_(ffn_.width),
        width_(source.spec.width) {}

  // GGUF: one tensor [E, rows, cols] for all.
  std::vector<FeedForwardWeights> stacked() {
    std::vector<FeedForwardWeights> out(ffn_.experts.count);
    const auto take = [&](std::string_view name, Linear FeedForwardWeights::*which, std::size_t rows,
                          std::size_t cols) {
      const Tensor& t = tensor(std::string(name) + ".weight", count_, rows, cols);
      const float* bias =
          s_.spec.layout.feed_forward_bias ? vector(std::string(name) + ".bias", rows) : nullptr;
      const std::size_t plane = rows * row_bytes(t.type, cols);
      for (std::size_t e = 0; e < out.size(); ++e) {
        out[e].*which = {{.type = t.type, .rows = rows, .cols = cols, .data = t.data + e * plane},
                         bias == nullptr ? nullptr : bias + e * rows};
      }
    };
    take("ffn_gate_exps", &FeedForwardWeights::gate, inner_, width_);
    take("ffn_up_exps", &FeedForwardWeights::up, inner_, width_);
    take("ffn_down_exps", &FeedForwardWeights::down, width_, inner_);
    return out;
  }

  // Hugging Face: three matrices per expert.
  std::vector<FeedForwardWeights> separate() {
    std::vector<FeedForwardWeights> out(ffn_.experts.count);
    for (std::size_t e = 0; e < out.size(); ++e) {
      const auto one = [&](std::string_view name, std::size_t rows, std::size_t cols) {
        const Tensor& t = tensor(fmt::format("mlp.experts.{}.{}.weight", e, name), 1, rows, cols);
        return Linear{{.type = t.type, .rows = rows, .cols = cols, .data = t.data}};
      };
      out[e].gate = one("gate_proj", inner_, width_);
      out[e].up = one("up_proj", inner_, width_);
      out[e].down = one("down_proj", width_, inner_);
    }
    return out;
  }

  // gpt-oss in 16 or 32 bits: [E, in, out], gate and up in turns.
  std::vector<FeedForwardWeights> transposed() {
    std::vector<FeedForwardWeights> out(ffn_.experts.count);
    const Tensor& gate_up = tensor("mlp.experts.gate_up_proj", count_, width_, 2 * inner_);
    const Tensor& down = tensor("mlp.experts.down_proj", count_, inner_, width_);
    for (std::size_t e = 0; e < out.size(); ++e) {
      out[e].gate.weight = transpose(gate_up, e, 0, 2);
      out[e].up.weight = transpose(gate_up, e, 1, 2);
      out[e].down.weight = transpose(down, e, 0, 1);
    }
    add_biases(out);
    return out;
  }

  // gpt-oss in MXFP4: [E, out, in], rows of gate and up in turns.
  std::vector<FeedForwardWeights> in_turns() {
    std::vector<FeedForwardWeights> out(ffn_.experts.count);
    const Tensor& gate_up = tensor("mlp.experts.gate_up_proj_blocks", count_, 2 * inner_, width_);
    const Tensor& down = tensor("mlp.experts.down_proj_blocks", count_, width_, inner_);
    const std::size_t plane = width_ * row_bytes(down.type, inner_);
    for (std::size_t e = 0; e < out.size(); ++e) {
      out[e].gate.weight = every_second_row(gate_up, e, 0);
      out[e].up.weight = every_second_row(gate_up, e, 1);
      out[e].down.weight = {.type = down.type, .rows = width_, .cols = inner_, .data = down.data + e * plane};
    }
    add_biases(out);
    return out;
  }

 private:
  // gpt-oss's: those of gate and up in turns.
  void add_biases(std::vector<FeedForwardWeights>& out) {
    const float* gate_up = vector("mlp.experts.gate_up_proj_bias", 2 * inner_);
    const float* down = vector("mlp.experts.down_proj_bias", width_);
    for (std::size_t e = 0; e < out.size(); ++e) {
      AlignedBuffer<float>& biases = s_.vectors.emplace_back(2 * inner_);
      for (std::size_t i = 0; i < inner_; ++i) {
        biases.data()[i] = gate_up[e * 2 * inner_ + 2 * i];
        biases.data()[inner_ + i] = gate_up[e * 2 * inner_ + 2 * i + 1];
      }
      out[e].gate.bias = biases.data();
      out[e].up.bias = biases.data() + inner_;
      out[e].down.bias = down + e * width_;
    }
  }

  MatrixView every_second_row(const Tensor& t, std::size_t e, std::size_t first) {
    const std::size_t bytes = row_bytes(t.type, t.cols);
    const std::size_t rows = t.rows / 2;
    AlignedBuffer<std::byte>& copy = s_.converted.emplace_back(rows * bytes);
    const std::byte* from = t.data + (e * 2 * rows + first) * bytes;
    for (std::size_t r = 0; r < rows; ++r) std::memcpy(copy.data() + r * bytes, from + 2 * r * bytes, bytes);
    return {.type = t.type, .rows = rows, .cols = t.cols, .data = copy.data()};
  }

  const Tensor& tensor(std::string_view name, std::size_t planes, std::size_t rows, std::size_t cols) {
    const std::string full = layer_tensor(s_.file.kind(), s_.spec, s_.layer, name);
    const Tensor& found = checked_tensor(s_.file, full, planes, rows, cols);
    s_.used.insert(full);
    return found;
  }

  // [E, n] in f32.
  const float* vector(std::string_view name, std::size_t n) {
    const Tensor& t = tensor(name, count_, 1, n);
    AlignedBuffer<float>& copy = s_.vectors.emplace_back(count_ * n);
    widen_row(t.type, t.data, copy.size(), copy.data());
    return copy.data();
  }

  // Every `step`th column of plane e, from `first` on, as rows; in the file's type.
  MatrixView transpose(const Tensor& t, std::size_t e, std::size_t first, std::size_t step) {
    const TensorTypeTraits& type = traits(t.type);
    if (type.block_elements != 1)
      fail_data("{}: tensor {} is quantized, which is not supported", s_.file.path().string(), t.name);
    const std::size_t in = t.rows;
    const auto columns = t.cols;
    const std::size_t out = columns / step;
    const std::size_t bytes = type.block_bytes;
    AlignedBuffer<std::byte>& copy = s_.converted.emplace_back(in * out * bytes);
    const std::byte* from = t.data + e * in * columns * bytes;
    for (std::size_t o = 0; o < out; ++o) {
      for (std::size_t i = 0; i < in; ++i) {
        std::memcpy(copy.data() + (o * in + i) * bytes, from + (i * columns + first + o * step) * bytes,
                    bytes);
      }
    }
    return {.type = t.type, .rows = out, .cols = t.rows, .data = copy.data()};
  }

  const ExpertSource& s_;
  const FeedForwardSpec& ffn_;
  std::size_t count_, inner_, width_;
};

}  // namespace

std::vector<FeedForwardWeights> bind_experts(const ExpertSource& source) {
  Experts experts(source);
  if (source.file.kind() == Container::Gguf) return experts.stacked();
  const auto has = [&](std::string_view name) {
    return source.file.find(layer_tensor(source.file.kind(), source.spec, source.layer, name)) != nullptr;
  };
  if (has("mlp.experts.gate_up_proj_blocks")) return experts.in_turns();
  return has("mlp.experts.gate_up_proj") ? experts.transposed() : experts.separate();
}

}  // namespace thinkey
