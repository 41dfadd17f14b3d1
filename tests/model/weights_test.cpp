#include "model/weights.h"

#include <gtest/gtest.h>

#include "model/fixture.h"

namespace thinkey {
namespace {

using testing::TinyModel;

TEST(Weights, HaveTheShapesOfTheHyperparameters) {
  const TinyModel model("eight_to_one.gguf");  // d = 32, H = 8, Hkv = 1, D = 8, F = 48
  ASSERT_EQ(model.weights.layers.size(), 2U);
  const auto shape = [](const MatrixView& m) { return std::pair(m.rows, m.cols); };
  EXPECT_EQ(shape(model.weights.token_embedding), std::pair(96L, 32L));
  EXPECT_EQ(shape(model.weights.output), std::pair(96L, 32L));
  EXPECT_EQ(model.weights.output_norm.size(), 32U);
  for (const LayerWeights& layer : model.weights.layers) {
    EXPECT_EQ(shape(layer.query), std::pair(64L, 32L));
    EXPECT_EQ(shape(layer.key), std::pair(8L, 32L));
    EXPECT_EQ(shape(layer.value), std::pair(8L, 32L));
    EXPECT_EQ(shape(layer.attention_output), std::pair(32L, 64L));
    EXPECT_EQ(shape(layer.gate), std::pair(48L, 32L));
    EXPECT_EQ(shape(layer.up), std::pair(48L, 32L));
    EXPECT_EQ(shape(layer.down), std::pair(32L, 48L));
    EXPECT_EQ(layer.attention_norm.size(), 32U);
    EXPECT_EQ(layer.ffn_norm.size(), 32U);
  }
}

TEST(Weights, TiedOutputIsTheEmbedding) {
  const TinyModel tied("smollm2.gguf");
  EXPECT_EQ(tied.weights.output.data, tied.weights.token_embedding.data);
  const TinyModel untied("llama2.gguf");
  EXPECT_NE(untied.weights.output.data, untied.weights.token_embedding.data);
}

TEST(Weights, NormsAreWidenedAlikeFromBothContainers) {
  const TinyModel half("llama2");         // norms in F16
  const TinyModel single("llama2.gguf");  // norms in F32
  for (std::size_t i = 0; i < half.weights.output_norm.size(); ++i) {
    EXPECT_EQ(half.weights.output_norm[i], single.weights.output_norm[i]);
  }
}

}  // namespace
}  // namespace thinkey
