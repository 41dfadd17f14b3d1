// Memory is known before it is taken.
#include "backend/cpu/pass_memory.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <utility>

#include "backend/cpu/ops/matvec_int8.h"
#include "base/parallel.h"
#include "engine/memory.h"
#include "model/fixture.h"

namespace thinkey {
namespace {

using testing::TinyModel;

struct Arithmetic {
  Precision precision;
  ActivationPrecision activations;
};

class PassMemoryUse : public ::testing::TestWithParam<Arithmetic> {};

TEST_P(PassMemoryUse, PrefillAllocatesExactlyWhatTheEstimateSays) {
  for (const char* name : {"llama2.gguf", "llama32", "quantized.gguf", "linear.gguf", "gemma3",
                           "gpt_oss.gguf", "qwen3_moe_mixed"}) {
    const TinyModel model(name,
                          {.precision = GetParam().precision, .prefill_activations = GetParam().activations});
    for (const std::size_t tokens : {1U, 8U, 9U, 30U, 48U}) {
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
            AllocationCounter counter;
            std::vector<float> last(model.vocabulary());
            PrefillOutputs outputs{.last_logits = last, .counter = &counter};
            if (all_logits) outputs.logits = [](std::size_t, std::span<const float>) {};
            const Decoder decoder = model.decoder(chunk);
            const SequenceCache* const caches[] = {&cache};
            const PassBytes estimate =
                model.backend->pass_bytes(model.network(), prefill_request(decoder, tokens, caches, outputs));
            prefill(decoder, std::span(model.expects.ids).first(tokens), cache, outputs);
            EXPECT_EQ(counter.peak(), estimate.hidden_states + estimate.layer_kv + estimate.scratch)
                << name << ' ' << tokens << ' ' << chunk << ' ' << all_logits << ' ' << spec;
            EXPECT_EQ(counter.live(), 0U);
            const bool bf16 = GetParam().precision == Precision::BF16;
            EXPECT_EQ(estimate.hidden_states, tokens * model.network().width * (bf16 ? 3 : 4));
            const std::size_t element = bf16 ? 2 : 4;
            EXPECT_EQ(estimate.layer_kv, 2 * tokens * element * model.network().kv_width());
          }
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Precisions, PassMemoryUse,
                         ::testing::Values(Arithmetic{Precision::F32, ActivationPrecision::F32},
                                           Arithmetic{Precision::BF16, ActivationPrecision::F32},
                                           Arithmetic{Precision::F32, ActivationPrecision::Int8},
                                           Arithmetic{Precision::BF16, ActivationPrecision::Int8}),
                         [](const auto& p) {
                           return std::string(p.param.precision == Precision::F32 ? "f32" : "bf16") +
                                  (p.param.activations == ActivationPrecision::Int8 ? "_int8" : "");
                         });

TEST(DecodePass, AllocatesWhatItSays) {
  for (const char* name : {"eight_to_one.gguf", "gpt_oss", "gemma2.gguf"}) {
    const TinyModel model(name);
    for (const std::size_t batch : {1U, 3U}) {
      AllocationCounter counter;
      const PassRequest request = decode_request(model.decoder(), batch);
      const auto pass = model.backend->pass(model.network(), request, &counter);
      const PassBytes bytes = model.backend->pass_bytes(model.network(), request);
      EXPECT_EQ(counter.live(), bytes.hidden_states + bytes.layer_kv + bytes.scratch) << name;
      EXPECT_EQ(bytes.layer_kv, 0U);
    }
  }
}

TEST(PassSizes, WeightsOfTheProductsTypeAreNotCopied) {
  const TinyModel f32("linear.gguf");
  const TinyModel bf16("llama32.gguf");
  PassRequest request{.rows = 100};
  CpuOptions options;
  const auto copied = [&](const TinyModel& model) {
    const PassSizes sizes = pass_sizes(model.network(), request, options);
    return std::pair(sizes.attention.weight_bytes, sizes.feed_forward.weight_bytes);
  };
  EXPECT_EQ(copied(f32), std::pair(std::size_t{0}, std::size_t{0}));
  EXPECT_EQ(copied(bf16),
            std::pair(std::size_t{4 * (2 * 32 * 32 + 2 * 16 * 32)}, std::size_t{4 * 3 * 48 * 32}));
  options.precision = Precision::BF16;
  EXPECT_EQ(copied(bf16), std::pair(std::size_t{0}, std::size_t{0}));
  EXPECT_EQ(copied(f32).second, 2U * 3 * 32 * 24);
  request.rows = kFewRows;  // straight from the file
  EXPECT_EQ(copied(f32), std::pair(std::size_t{0}, std::size_t{0}));
}

TEST(InTurns, AnArrayIsGoneWhenAnotherTookItsPlace) {
  std::vector<float> memory(8);
  InTurns<AttentionScratch::A> turns(memory.data(), memory.size());
  (void)turns.begin(AttentionScratch::A::Normed, 8);
  EXPECT_EQ(turns.get(AttentionScratch::A::Normed), memory.data());
  (void)turns.begin(AttentionScratch::A::Attended, 4);
  EXPECT_THROW((void)turns.get(AttentionScratch::A::Normed), std::logic_error);
  EXPECT_THROW((void)turns.begin(AttentionScratch::A::Normed, 9), std::logic_error);
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
