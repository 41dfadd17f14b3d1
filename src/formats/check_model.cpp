#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>

#include "base/fail.h"
#include "base/head_dimension.h"
#include "formats/model_file.h"
#include "formats/printable.h"
#include "formats/tokenizer_tables.h"

namespace thinkey {
namespace {

struct Bound {
  std::string_view what;
  std::int64_t value;
  std::int64_t least;
  std::int64_t most;
};

// The largest products of these (vocabulary x width, ...) stay far below 2^63.
constexpr std::int64_t kMaxLayers = 1024;
constexpr std::int64_t kMaxWidth = std::int64_t{1} << 17U;
constexpr std::int64_t kMaxHeads = 4096;
constexpr std::int64_t kMaxFfnWidth = std::int64_t{1} << 20U;
constexpr std::int64_t kMaxContext = std::int64_t{1} << 30U;

void check_tensor(const ModelFile& file, const std::string& name, std::int64_t rows, std::int64_t cols,
                  const std::filesystem::path& path) {
  const Tensor* tensor = file.find(name);
  if (tensor == nullptr) fail_data("{}: tensor {} is missing", path.string(), name);
  if (tensor->rows != rows || tensor->cols != cols) {
    fail_data("{}: tensor {} has {} rows of {} columns where the hyperparameters ask for {} of {}",
              path.string(), name, tensor->rows, tensor->cols, rows, cols);
  }
  const TensorTypeTraits& type = traits(tensor->type);
  if (static_cast<std::size_t>(cols) % type.block_elements != 0) {
    fail_data("{}: tensor {}: {} columns do not make whole {} blocks of {}", path.string(), name, cols,
              type.name, type.block_elements);
  }
  if (tensor->data == nullptr ||
      tensor->bytes !=
          static_cast<std::size_t>(rows) * row_bytes(tensor->type, static_cast<std::size_t>(cols))) {
    fail_data("{}: tensor {} has the wrong number of bytes", path.string(), name);
  }
}

void check_norm(const ModelFile& file, const std::string& name, const std::filesystem::path& path) {
  check_tensor(file, name, 1, file.hyperparameters().width, path);
  const TensorTypeTraits& type = traits(file.find(name)->type);
  if (type.block_elements != 1) {
    fail_data("{}: tensor {}: a norm of type {}; F32, F16 or BF16 expected", path.string(), name, type.name);
  }
}

}  // namespace

void check_hyperparameters(const Hyperparameters& h, const std::filesystem::path& path) {
  const std::array<Bound, 8> bounds{{
      {"layers", h.layers, 1, kMaxLayers},
      {"vocabulary size", h.vocabulary, 1, static_cast<std::int64_t>(kMaxVocabulary)},
      {"hidden size", h.width, 1, kMaxWidth},
      {"query heads", h.query_heads, 1, kMaxHeads},
      {"KV heads", h.kv_heads, 1, kMaxHeads},
      {"feed-forward size", h.ffn_width, 1, kMaxFfnWidth},
      {"context length", h.context_length, 1, kMaxContext},
      {"sliding window", h.sliding_window, 0, kMaxContext},
  }};
  for (const Bound& bound : bounds) {
    if (bound.value < bound.least || bound.value > bound.most) {
      fail_data("{}: {} {} is outside {} to {}", path.string(), bound.what, bound.value, bound.least,
                bound.most);
    }
  }
  if (h.query_heads % h.kv_heads != 0) {
    fail_data("{}: {} query heads cannot share {} KV heads evenly", path.string(), h.query_heads, h.kv_heads);
  }
  check_head_dimension(h.head_dim, path.string());
  if (!std::isfinite(h.rms_epsilon) || h.rms_epsilon < 0 || h.rms_epsilon > 1) {
    fail_data("{}: RMS norm epsilon {} is outside 0 to 1", path.string(), h.rms_epsilon);
  }
  if (!std::isfinite(h.rope_theta) || h.rope_theta <= 0) {
    fail_data("{}: RoPE base {} is not a positive number", path.string(), h.rope_theta);
  }
}

void check_model(const ModelFile& file, const std::filesystem::path& path) {
  const Hyperparameters& h = file.hyperparameters();
  check_hyperparameters(h, path);
  const auto& frequencies = h.rope_inverse_frequencies;
  if (frequencies.size() != static_cast<std::size_t>(h.head_dim / 2) ||
      !std::all_of(frequencies.begin(), frequencies.end(),
                   [](float f) { return std::isfinite(f) && f >= 0; })) {
    fail_data("{}: RoPE frequencies are not {} finite numbers", path.string(), h.head_dim / 2);
  }

  const std::int64_t q = h.query_heads * h.head_dim;
  const std::int64_t kv = h.kv_heads * h.head_dim;
  check_tensor(file, "token_embd.weight", h.vocabulary, h.width, path);
  check_norm(file, "output_norm.weight", path);
  if (h.tied_output) {
    if (file.find("output.weight") != nullptr) {
      fail_data("{}: output.weight exists although the output is tied to the embedding", path.string());
    }
  } else {
    check_tensor(file, "output.weight", h.vocabulary, h.width, path);
  }
  for (std::int64_t i = 0; i < h.layers; ++i) {
    const std::string layer = fmt::format("blk.{}.", i);
    check_norm(file, layer + "attn_norm.weight", path);
    check_tensor(file, layer + "attn_q.weight", q, h.width, path);
    check_tensor(file, layer + "attn_k.weight", kv, h.width, path);
    check_tensor(file, layer + "attn_v.weight", kv, h.width, path);
    check_tensor(file, layer + "attn_output.weight", h.width, q, path);
    check_norm(file, layer + "ffn_norm.weight", path);
    check_tensor(file, layer + "ffn_gate.weight", h.ffn_width, h.width, path);
    check_tensor(file, layer + "ffn_up.weight", h.ffn_width, h.width, path);
    check_tensor(file, layer + "ffn_down.weight", h.width, h.ffn_width, path);
  }

  const std::size_t tokens = file.tokenizer().tokens.size();
  if (tokens != 0 && tokens != static_cast<std::size_t>(h.vocabulary)) {
    fail_data("{}: the tokenizer has {} tokens, the model's embedding {}", path.string(), tokens,
              h.vocabulary);
  }
}

}  // namespace thinkey
