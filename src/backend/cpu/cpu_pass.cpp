#include "backend/cpu/cpu_pass.h"

#include <algorithm>
#include <cmath>

#include "backend/cpu/ops/activation.h"
#include "backend/cpu/ops/dequantize.h"
#include "backend/cpu/ops/matvec.h"
#include "backend/cpu/ops/norm.h"
#include "base/parallel.h"

namespace thinkey {

CpuPass::CpuPass(const Network& network, const PassRequest& request, const CpuOptions& options,
                 AllocationCounter* counter)
    : network_(network),
      request_(request),
      options_(options),
      sizes_(pass_sizes(network, request, options)),
      memory_(network, request, sizes_, options, counter),
      activations_(request.one_token_each ? options.decode_activations : options.prefill_activations),
      order_(request.as_alone ? VectorOrder::Alone : VectorOrder::Together),
      products_(options.precision, activations_, request.one_token_each, order_) {}

void CpuPass::embed(Rows rows, std::span<const std::int32_t> tokens) {
  const MatrixView& table = network_.embedding;
  const std::size_t width = network_.width;
  float* to = memory_.attention.a.begin(AttentionScratch::A::Normed, rows.count * width);
  parallel_for(rows.count, [&](std::size_t t) {
    widen_row(table.type, table.row(tokens[t]), width, to + t * width);
    if (network_.embedding_scale == 1.0F) return;
    for (std::size_t i = 0; i < width; ++i) to[t * width + i] *= network_.embedding_scale;
  });
  memory_.hidden.store(rows.first, rows.count, to);
}

void CpuPass::load_normed(Rows rows, const Norm& norm, float* out) const {
  memory_.hidden.load(rows.first, rows.count, out);
  normalise(norm, rows.count, network_.width, out);
}

double CpuPass::hidden_energy(Rows rows) const {
  constexpr double kSquaredMedian = 0.45494;  // of a normal number's magnitude
  if (rows.count == 0) return 1.0;
  const std::size_t width = network_.width;
  std::vector<float> row(width);
  std::vector<double> energies;
  for (std::size_t r = rows.first; r < rows.first + rows.count; ++r) {
    memory_.hidden.load(r, 1, row.data());
    for (float& x : row) x = std::abs(x);
    const auto middle = row.begin() + static_cast<std::ptrdiff_t>(width / 2);
    std::nth_element(row.begin(), middle, row.end());
    energies.push_back(static_cast<double>(*middle) * *middle / kSquaredMedian * static_cast<double>(width));
  }
  const auto middle = energies.begin() + static_cast<std::ptrdiff_t>(energies.size() / 2);
  std::nth_element(energies.begin(), middle, energies.end());
  return *middle > 0.0 ? *middle : 1.0;
}

void CpuPass::add_bias(const Linear& linear, std::size_t rows, float* x) {
  if (linear.bias == nullptr) return;
  const auto width = static_cast<std::size_t>(linear.weight.rows);
  parallel_for(rows, [&](std::size_t r) { add(linear.bias, width, x + r * width); });
}

void CpuPass::add_to_hidden(Rows rows, const Norm& post_norm, float* x) {
  normalise(post_norm, rows.count, network_.width, x);
  if (network_.residual_scale != 1.0F) scale(network_.residual_scale, rows.count * network_.width, x);
  memory_.hidden.add(rows.first, rows.count, x);
}

void CpuPass::scale_logits(std::size_t rows, float* logits) const {
  const std::size_t n = rows * network_.vocabulary;
  if (network_.logit_scale != 1.0F) scale(network_.logit_scale, n, logits);
  const float cap = network_.logit_softcap;
  if (cap == 0.0F) return;
  parallel_for((n + 4095) / 4096, [&](std::size_t piece) {
    const std::size_t end = std::min(n, (piece + 1) * 4096);
    for (std::size_t i = piece * 4096; i < end; ++i) logits[i] = cap * std::tanh(logits[i] / cap);
  });
}

void CpuPass::logits(Rows rows, float* out) {
  float* normed = memory_.logits.normed;
  load_normed(rows, network_.output_norm, normed);
  matvec(network_.output.weight, normed, rows.count, out, activations_, order_);
  scale_logits(rows.count, out);
}

// [output_rows, V] at a time; where the output matrix has to be widened, a block of it at a time.
const float* CpuPass::logits(Rows rows) {
  const LogitsScratch& s = memory_.logits;
  load_normed(rows, network_.output_norm, s.normed);
  products_.set_input(s.normed, rows.count, network_.width);
  for (std::size_t row = 0; row < network_.vocabulary; row += sizes_.output_block) {
    products_.start_phase(s.products);
    const MatrixView block =
        network_.output.weight.some_rows(row, std::min(sizes_.output_block, network_.vocabulary - row));
    products_.multiply(products_.ready(block, request_.rows), s.logits + row, network_.vocabulary);
  }
  scale_logits(rows.count, s.logits);
  return s.logits;
}

namespace {

class CpuBackend final : public Backend {
 public:
  explicit CpuBackend(const CpuOptions& options) : options_(options) {}

  [[nodiscard]] std::unique_ptr<Pass> pass(const Network& network, const PassRequest& request,
                                           AllocationCounter* counter) const override {
    return std::make_unique<CpuPass>(network, request, options_, counter);
  }
  [[nodiscard]] std::string prefill_arithmetic() const override {
    const bool int8 = prefill_takes_int8(options_.precision, options_.prefill_activations);
    return std::string(options_.precision == Precision::F32 ? "f32" : "bf16") + (int8 ? "+int8" : "");
  }
  [[nodiscard]] std::string decode_arithmetic() const override {
    return options_.decode_activations == ActivationPrecision::F32 ? "f32" : "int8";
  }
  [[nodiscard]] PassBytes pass_bytes(const Network& network, const PassRequest& request) const override {
    const PassSizes s = pass_sizes(network, request, options_);
    return {.hidden_states = s.hidden_bytes, .layer_kv = 2 * s.kv * s.kv_bytes, .scratch = s.scratch_bytes};
  }

 private:
  CpuOptions options_;
};

}  // namespace

std::unique_ptr<Backend> cpu_backend(const CpuOptions& options) {
  return std::make_unique<CpuBackend>(options);
}

}  // namespace thinkey
