#include "model/weights.h"

#include <array>
#include <cstring>
#include <set>
#include <string_view>

#include "backend/cpu/ops/dequantize.h"
#include "backend/cpu/ops/matmul_int8.h"
#include "backend/cpu/ops/matvec_int8.h"
#include "backend/cpu/ops/packed_matrix.h"
#include "base/fail.h"
#include "base/mapped_file.h"
#include "formats/printable.h"
#include "model/expert_tensors.h"
#include "model/tensor_table.h"

namespace thinkey {

// Finds, checks and notes tensors.
class Binder {
 public:
  Binder(const ModelFile& file, ModelSpec& spec, Weights& out) : file_(file), spec_(spec), out_(out) {}

  void bind() {
    Network& n = out_.network_;
    n.width = spec_.width;
    n.vocabulary = spec_.vocabulary;
    n.embedding_scale = spec_.embedding_scale;
    n.residual_scale = spec_.residual_scale;
    n.logit_scale = spec_.logit_scale;
    n.logit_softcap = spec_.logit_softcap;
    n.ropes = spec_.ropes;
    settle_tying();
    n.embedding = matrix(Role::Embedding);
    n.output_norm = norm(Role::OutputNorm);
    n.output.weight = spec_.tied_output ? n.embedding : matrix(Role::Output);
    n.layers.resize(spec_.layers.size());
    for (layer_ = 0; layer_ < spec_.layers.size(); ++layer_) bind_layer(n.layers[layer_]);
    refuse_unused();
  }

 private:
  [[nodiscard]] LayerSpec& layer_spec() { return spec_.layers[std::min(layer_, spec_.layers.size() - 1)]; }
  [[nodiscard]] std::string path() const { return file_.path().string(); }

  void bind_layer(Layer& layer) {
    LayerSpec& spec = layer_spec();
    layer.attention_norm = norm(Role::AttentionNorm);
    layer.attention_post_norm = norm(Role::AttentionPostNorm);
    layer.feed_forward_norm = norm(Role::FeedForwardNorm);
    layer.feed_forward_post_norm = norm(Role::FeedForwardPostNorm);

    Attention& a = layer.attention;
    if (spec_.layout.fused_qkv) {
      const MatrixView fused = matrix(Role::FusedQkv);
      const float* bias = vector(Role::FusedQkvBias);
      const std::size_t query = spec_.query_width();
      const std::size_t kv = spec_.kv_width();
      const auto part = [&](std::size_t first, std::size_t rows) {
        return Linear{fused.some_rows(first, rows), bias == nullptr ? nullptr : bias + first};
      };
      a.query = part(0, query);
      a.key = part(query, kv);
      a.value = part(query + kv, kv);
    } else {
      a.query = {matrix(Role::Query), vector(Role::QueryBias)};
      a.key = {matrix(Role::Key), vector(Role::KeyBias)};
      a.value = {matrix(Role::Value), vector(Role::ValueBias)};
    }
    a.query_norm = norm(Role::QueryNorm);
    a.key_norm = norm(Role::KeyNorm);
    a.output = {matrix(Role::AttentionOutput), vector(Role::AttentionOutputBias)};
    spec.attention.shape.sinks = vector(Role::Sinks);
    spec.attention.shape.output = &a.output.weight;
    if (spec.attention.rope >= 0) {
      spec.attention.shape.rope = &out_.network_.ropes[static_cast<std::size_t>(spec.attention.rope)];
    }
    a.spec = spec.attention;

    FeedForward& f = layer.feed_forward;
    f.spec = spec.feed_forward;
    if (f.spec.experts.count > 0) {
      f.router = {matrix(Role::Router), vector(Role::RouterBias)};
      ExpertSource source{.file = file_,
                          .spec = spec_,
                          .layer = layer_,
                          .used = used_,
                          .vectors = out_.vectors_,
                          .converted = out_.converted_};
      f.experts = bind_experts(source);
      return;
    }
    if (spec_.layout.fused_gate_up) {
      const MatrixView fused = matrix(Role::FusedGateUp);
      f.dense.gate.weight = fused.some_rows(0, f.spec.width);
      f.dense.up.weight = fused.some_rows(f.spec.width, f.spec.width);
    } else {
      f.dense.gate = {matrix(Role::Gate), vector(Role::GateBias)};
      f.dense.up = {matrix(Role::Up), vector(Role::UpBias)};
    }
    f.dense.down = {matrix(Role::Down), vector(Role::DownBias)};
  }

  // The tensor of a role; null when the spec does not want it.
  const Tensor* tensor(Role role) {
    const TensorRow& row = tensor_row(role);
    const LayerSpec& layer = layer_spec();
    if (!row.wanted(spec_, layer)) return nullptr;
    const std::string name = tensor_name(role, file_.kind(), spec_, layer_);
    const Tensor& found =
        checked_tensor(file_, name, 1, dim_size(row.rows, spec_, layer), dim_size(row.cols, spec_, layer));
    used_.insert(name);
    return &found;
  }
  MatrixView matrix(Role role) {
    const Tensor* t = tensor(role);
    if (t == nullptr) return {};
    return {.type = t->type, .rows = t->rows, .cols = t->cols, .data = t->data};
  }
  const float* vector(Role role, float offset = 0.0F) {
    const Tensor* t = tensor(role);
    if (t == nullptr) return nullptr;
    const TensorTypeTraits& type = traits(t->type);
    if (type.block_elements != 1) {
      fail_data("{}: tensor {}: a vector of type {}; F32, F16 or BF16 expected", path(), t->name, type.name);
    }
    AlignedBuffer<float>& copy = out_.vectors_.emplace_back(t->cols);
    widen_row(t->type, t->data, copy.size(), copy.data());
    for (float& x : copy.span()) x += offset;
    return copy.data();
  }
  Norm norm(Role role) {
    return {.weight = vector(role, spec_.layout.norm_offset), .epsilon = spec_.epsilon, .kind = spec_.norm};
  }

  // tie_word_embeddings beside a matrix of its own: the same numbers are harmless, others a contradiction.
  void settle_tying() {
    if (!spec_.tied_output || file_.kind() == Container::Gguf) return;
    const Tensor* own = file_.find(tensor_row(Role::Output).hf);
    const Tensor* embedding = file_.find(tensor_row(Role::Embedding).hf);
    if (own == nullptr || embedding == nullptr) return;
    if (own->type != embedding->type || own->bytes != embedding->bytes ||
        std::memcmp(own->data, embedding->data, own->bytes) != 0) {
      fail_data(
          "{}: tie_word_embeddings is true, but lm_head.weight holds other numbers than the embedding; set "
          "it "
          "to false or remove lm_head.weight",
          path());
    }
    used_.insert(own->name);
  }

  void refuse_unused() const {
    for (const Tensor& tensor : file_.tensors()) {
      const std::string_view name = tensor.name;
      if (used_.contains(tensor.name)) continue;
      // Frequencies, which are part of the spec, or which old files hold a second time.
      if (name == "rope_freqs.weight" || name.starts_with("rope_factors_") ||
          name.ends_with("attn_rot_embd.weight") || name.ends_with("rotary_emb.inv_freq")) {
        continue;
      }
      fail_data("{}: tensor {} is not part of a {} model as its hyperparameters describe it{}", path(),
                printable(tensor.name), printable(spec_.architecture),
                name.ends_with(".bias") ? " (it is a bias)" : "");
    }
  }

  const ModelFile& file_;
  ModelSpec& spec_;
  Weights& out_;
  std::size_t layer_ = 0;
  std::set<std::string> used_;
};

Weights::Weights(const ModelFile& file, ModelSpec& spec) { Binder(file, spec, *this).bind(); }

// One buffer for the copies of all matrices that size(matrix) is not 0 for, written by write(matrix, place).
template <typename Size, typename Write>
AlignedBuffer<std::byte> Weights::copy_matrices(const CopyReason& reason, std::size_t memory,
                                                const Size& size, const Write& write) {
  std::size_t bytes = 0;
  for_each_matrix([&](const MatrixView& m, double) { bytes += size(m); });
  if (memory > 0 && bytes > memory) {
    constexpr std::size_t kMebibyte = std::size_t{1} << 20U;
    fail_data("{} takes {} MiB but {} MiB are available; {}, or a machine with more memory", reason.what,
              bytes / kMebibyte, memory / kMebibyte, reason.remedy);
  }
  AlignedBuffer<std::byte> out(bytes);
  std::byte* next = out.data();
  visit(network_, [&](MatrixView& matrix, double) {
    if (size(matrix) == 0) return;
    write(matrix, next);
    next += size(matrix);
  });
  return out;
}

void Weights::repack(std::size_t memory) {
  if (!cpu_multiplies_int8()) return;
  repacked_ = copy_matrices(
      {"repacking the weights", "use --no-repack"}, memory,
      [](const MatrixView& m) { return packed_bytes(m.type, m.rows, m.cols); },
      [](MatrixView& m, std::byte* out) {
        pack_matrix(m, out);
        m.packed = out;
        give_back_mapped({m.data, m.bytes()});
      });
}

// Few prompts are multiplied by the output, and those by much else.
std::size_t Weights::int8_bytes_of(const MatrixView& matrix) const noexcept {
  const bool kept = has_int8_product(matrix.type) && &matrix != &network_.output.weight;
  return kept ? int8_weight_bytes(matrix.rows, matrix.cols) : 0;
}

std::size_t Weights::int8_bytes_if_kept() const noexcept {
  std::size_t bytes = 0;
  for_each_matrix([&](const MatrixView& m, double) { bytes += int8_bytes_of(m); });
  return bytes;
}

void Weights::keep_int8(std::size_t memory) {
  if (!cpu_multiplies_int8()) return;
  int8_ = copy_matrices(
      {"keeping the weights for prompts", "use --prefill-weights fresh"}, memory,
      [this](const MatrixView& m) { return int8_bytes_of(m); },
      [](MatrixView& m, std::byte* out) {
        quantize_columns(m, 0, m.cols, out);
        m.int8 = out;
      });
}

}  // namespace thinkey
