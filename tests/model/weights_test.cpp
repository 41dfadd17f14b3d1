#include "model/weights.h"

#include <gtest/gtest.h>

#include "model/fixture.h"

namespace thinkey {
namespace {

using testing::TinyModel;

TEST(Weights, HaveTheShapesOfTheHyperparameters) {
  const TinyModel model("eight_to_one.gguf");  // d = 32, H = 8, Hkv = 1, D = 8, F = 48
  ASSERT_EQ(model.network().layers.size(), 2U);
  const auto shape = [](const MatrixView& m) { return std::pair(m.rows, m.cols); };
  EXPECT_EQ(shape(model.network().embedding), std::pair(std::size_t{96}, std::size_t{32}));
  EXPECT_EQ(shape(model.network().output.weight), std::pair(std::size_t{96}, std::size_t{32}));
  for (const Layer& layer : model.network().layers) {
    EXPECT_EQ(shape(layer.attention.query.weight), std::pair(std::size_t{64}, std::size_t{32}));
    EXPECT_EQ(shape(layer.attention.key.weight), std::pair(std::size_t{8}, std::size_t{32}));
    EXPECT_EQ(shape(layer.attention.value.weight), std::pair(std::size_t{8}, std::size_t{32}));
    EXPECT_EQ(shape(layer.attention.output.weight), std::pair(std::size_t{32}, std::size_t{64}));
    EXPECT_EQ(shape(layer.feed_forward.dense.gate.weight), std::pair(std::size_t{48}, std::size_t{32}));
    EXPECT_EQ(shape(layer.feed_forward.dense.up.weight), std::pair(std::size_t{48}, std::size_t{32}));
    EXPECT_EQ(shape(layer.feed_forward.dense.down.weight), std::pair(std::size_t{32}, std::size_t{48}));
    EXPECT_TRUE(layer.attention_norm && layer.feed_forward_norm);
    EXPECT_FALSE(layer.attention_post_norm || layer.feed_forward_post_norm);
  }
}

TEST(Weights, TiedOutputIsTheEmbedding) {
  const TinyModel tied("smollm2.gguf");
  EXPECT_EQ(tied.network().output.weight.data, tied.network().embedding.data);
  const TinyModel untied("llama2.gguf");
  EXPECT_NE(untied.network().output.weight.data, untied.network().embedding.data);
}

TEST(Weights, NormsAreWidenedAlikeFromBothContainers) {
  const TinyModel half("llama2");         // norms in F16
  const TinyModel single("llama2.gguf");  // norms in F32
  for (std::size_t i = 0; i < half.network().width; ++i) {
    EXPECT_EQ(half.network().output_norm.weight[i], single.network().output_norm.weight[i]);
  }
}

}  // namespace
}  // namespace thinkey
