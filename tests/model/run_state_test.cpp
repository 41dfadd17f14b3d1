// Memory is known before it is taken.
#include "model/run_state.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <utility>

#include "base/parallel.h"
#include "model/fixture.h"
#include "ops/matvec_int8.h"

namespace thinkey {
namespace {

using testing::TinyModel;

// The state's angles are no counted buffers: cosines and sines, D/2 of each per token of a chunk.
std::size_t angle_bytes(const Config& config, std::size_t tokens, std::size_t chunk) {
  return std::min(tokens, chunk) * static_cast<std::size_t>(config.head_dim) * sizeof(float);
}

struct Arithmetic {
  Precision precision;
  ActivationPrecision activations;
};

class RunState : public ::testing::TestWithParam<Arithmetic> {};

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
                                         .precision = GetParam().precision,
                                         .activations = GetParam().activations};
            const MemoryEstimate estimate =
                prefill_bytes(prefill_sizes(model.config(), model.weights, request));
            AllocationCounter counter;
            std::vector<float> last(model.vocabulary());
            PrefillOutputs outputs{.last_logits = last, .counter = &counter};
            if (all_logits) outputs.logits = [](std::int64_t, std::span<const float>) {};
            Decoder decoder = model.decoder(chunk, GetParam().precision);
            decoder.prefill_activations = GetParam().activations;
            prefill(decoder, std::span(model.expects.ids).first(tokens), cache, outputs);
            EXPECT_EQ(counter.peak() + angle_bytes(model.config(), tokens, chunk), estimate.total())
                << name << ' ' << tokens << ' ' << chunk << ' ' << all_logits << ' ' << spec;
            EXPECT_EQ(counter.live(), 0U);
            const bool bf16 = GetParam().precision == Precision::BF16;
            EXPECT_EQ(estimate.hidden_states,
                      tokens * static_cast<std::size_t>(model.config().width) * (bf16 ? 3 : 4));
            const std::size_t element = bf16 ? 2 : 4;
            EXPECT_EQ(estimate.layer_kv, 2 * tokens * element *
                                             static_cast<std::size_t>(model.config().kv_heads) *
                                             static_cast<std::size_t>(model.config().head_dim));
          }
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Precisions, RunState,
                         ::testing::Values(Arithmetic{Precision::F32, ActivationPrecision::F32},
                                           Arithmetic{Precision::BF16, ActivationPrecision::F32},
                                           Arithmetic{Precision::F32, ActivationPrecision::Int8},
                                           Arithmetic{Precision::BF16, ActivationPrecision::Int8}),
                         [](const auto& p) {
                           return std::string(p.param.precision == Precision::F32 ? "f32" : "bf16") +
                                  (p.param.activations == ActivationPrecision::Int8 ? "_int8" : "");
                         });

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
  const auto copied = [&](const TinyModel& model) {
    const PrefillSizes sizes = prefill_sizes(model.config(), model.weights, request);
    return std::pair(sizes.attention.weight_bytes, sizes.feed_forward.weight_bytes);
  };
  EXPECT_EQ(copied(f32), std::pair(std::size_t{0}, std::size_t{0}));
  EXPECT_EQ(copied(bf16),
            std::pair(std::size_t{4 * (2 * 32 * 32 + 2 * 16 * 32)}, std::size_t{4 * 3 * 48 * 32}));
  request.precision = Precision::BF16;
  EXPECT_EQ(copied(bf16), std::pair(std::size_t{0}, std::size_t{0}));
  EXPECT_EQ(copied(f32).second, 2U * 3 * 32 * 24);
  request.tokens = kFewRows;  // straight from the file
  EXPECT_EQ(copied(f32), std::pair(std::size_t{0}, std::size_t{0}));
}

TEST(WeightForm, QuantizedWeightsGoThroughEightBitsWhereTheCpuHasThem) {
  const auto form = [](TensorType type, Precision precision, ActivationPrecision activations) {
    return weight_form({.type = type, .rows = 64, .cols = 64}, precision, activations, 100);
  };
  constexpr auto kInt8 = ActivationPrecision::Int8;
  EXPECT_EQ(form(TensorType::Q4_K, Precision::F32, kInt8),
            cpu_multiplies_int8() ? WeightForm::Int8 : WeightForm::F32);
  EXPECT_EQ(form(TensorType::Q8_0, Precision::BF16, kInt8),
            cpu_multiplies_int8() && !cpu_has_amx() ? WeightForm::Int8 : WeightForm::BF16);
  EXPECT_EQ(form(TensorType::BF16, Precision::BF16, kInt8), WeightForm::BF16);
  EXPECT_EQ(form(TensorType::Q8_0, Precision::BF16, ActivationPrecision::F32), WeightForm::BF16);
  EXPECT_EQ(form(TensorType::F16, Precision::F32, kInt8), WeightForm::F32);
  EXPECT_EQ(weight_form({.type = TensorType::Q8_0}, Precision::F32, kInt8, kFewRows), WeightForm::AsFile);
}

TEST(WeightForm, AMisalignedMatrixIsCopied) {
  alignas(4) std::byte bytes[64] = {};
  MatrixView matrix{.type = TensorType::F32, .rows = 2, .cols = 4, .data = bytes};
  EXPECT_TRUE(is_in_form(matrix, WeightForm::F32));
  matrix.data = bytes + 2;
  EXPECT_FALSE(is_in_form(matrix, WeightForm::F32));
  EXPECT_TRUE(is_in_form(matrix, WeightForm::AsFile));
  matrix.type = TensorType::BF16;
  EXPECT_TRUE(is_in_form(matrix, WeightForm::BF16));
  EXPECT_FALSE(is_in_form(matrix, WeightForm::F32));
}

}  // namespace
}  // namespace thinkey
