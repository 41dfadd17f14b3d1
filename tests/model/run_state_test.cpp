// Memory is known before it is taken.
#include "model/run_state.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <utility>

#include "base/parallel.h"
#include "model/fixture.h"

namespace thinkey {
namespace {

using testing::TinyModel;

// The state's angles are no counted buffers: cosines and sines, D/2 of each per token of a chunk.
std::size_t angle_bytes(const Config& config, std::size_t tokens, std::size_t chunk) {
  return std::min(tokens, chunk) * static_cast<std::size_t>(config.head_dim) * sizeof(float);
}

class RunState : public ::testing::TestWithParam<Precision> {};

TEST_P(RunState, PrefillAllocatesExactlyWhatTheEstimateSays) {
  for (const char* name : {"llama2.gguf", "llama32", "quantized.gguf", "linear.gguf"}) {
    const TinyModel model(name);
    for (const std::size_t tokens : {1U, 8U, 9U, 64U, 100U}) {
      for (const std::size_t chunk : {16U, 512U}) {
        for (const bool all_logits : {false, true}) {
          for (const std::string spec :
               {"snapkv:16,window=8", "h2o:16,window=8", "later turn", "evicts again"}) {
            const bool again = spec == "evicts again";
            const bool has_past = again || spec == "later turn";
            SequenceCache cache = model.cache(again      ? "snapkv:16,window=8,every=64"
                                              : has_past ? "full"
                                                         : spec.c_str());
            if (has_past) {
              (void)model.last_logits(model.decoder(), std::span(model.expects.ids).first(20), cache);
            }
            const PrefillRequest request{.tokens = tokens,
                                         .chunk = chunk,
                                         .observation = spec == "later turn" ? 0U : 8U,
                                         .has_past = has_past,
                                         .observes_all = spec.starts_with("h2o"),
                                         .all_logits = all_logits,
                                         .precision = GetParam()};
            const MemoryEstimate estimate =
                prefill_bytes(prefill_sizes(model.config(), model.weights, request));
            AllocationCounter counter;
            std::vector<float> last(model.vocabulary());
            PrefillOutputs outputs{.last_logits = last, .counter = &counter};
            if (all_logits) outputs.logits = [](std::int64_t, std::span<const float>) {};
            prefill(model.decoder(chunk, GetParam()), std::span(model.expects.ids).first(tokens), cache,
                    outputs);
            EXPECT_EQ(counter.peak() + angle_bytes(model.config(), tokens, chunk), estimate.total())
                << name << ' ' << tokens << ' ' << chunk << ' ' << all_logits << ' ' << spec;
            EXPECT_EQ(counter.live(), 0U);
            EXPECT_EQ(estimate.hidden_states, tokens * static_cast<std::size_t>(model.config().width) * 4);
            const std::size_t element = GetParam() == Precision::BF16 ? 2 : 4;
            EXPECT_EQ(estimate.layer_kv, 2 * tokens * element *
                                             static_cast<std::size_t>(model.config().kv_heads) *
                                             static_cast<std::size_t>(model.config().head_dim));
          }
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Precisions, RunState, ::testing::Values(Precision::F32, Precision::BF16),
                         [](const auto& p) { return p.param == Precision::F32 ? "f32" : "bf16"; });

TEST(DecodeState, AllocatesWhatItSays) {
  const TinyModel model("eight_to_one.gguf");
  for (const std::size_t batch : {1U, 3U}) {
    AllocationCounter counter;
    const DecodeState state(model.config(), batch, &counter);
    EXPECT_EQ(counter.live(), DecodeState::bytes(model.config(), batch));
  }
}

TEST(RunStateSizes, WeightsOfTheProductsTypeAreNotCopied) {
  const TinyModel f32("linear.gguf");
  const TinyModel bf16("llama32.gguf");
  PrefillRequest request{.tokens = 100};
  const auto widened = [&](const TinyModel& model) {
    const PrefillSizes sizes = prefill_sizes(model.config(), model.weights, request);
    return std::pair(sizes.widened_attention, sizes.widened_ffn);
  };
  EXPECT_EQ(widened(f32), std::pair(std::size_t{0}, std::size_t{0}));
  EXPECT_EQ(widened(bf16), std::pair(std::size_t{2 * 32 * 32 + 2 * 16 * 32}, std::size_t{3 * 48 * 32}));
  request.precision = Precision::BF16;
  EXPECT_EQ(widened(bf16), std::pair(std::size_t{0}, std::size_t{0}));
  EXPECT_EQ(widened(f32).second, 3U * 32 * 24);
  request.tokens = kFewRows;  // straight from the file
  EXPECT_EQ(widened(f32), std::pair(std::size_t{0}, std::size_t{0}));
}

TEST(RunStateSizes, AMisalignedMatrixIsCopied) {
  alignas(4) std::byte bytes[64] = {};
  MatrixView matrix{.type = TensorType::F32, .rows = 2, .cols = 4, .data = bytes};
  EXPECT_FALSE(needs_widening(matrix, Precision::F32, 100));
  matrix.data = bytes + 2;
  EXPECT_TRUE(needs_widening(matrix, Precision::F32, 100));
  EXPECT_FALSE(needs_widening(matrix, Precision::F32, kFewRows));
  matrix.type = TensorType::BF16;
  EXPECT_FALSE(needs_widening(matrix, Precision::BF16, 100));
  EXPECT_TRUE(needs_widening(matrix, Precision::F32, 100));
}

}  // namespace
}  // namespace thinkey
