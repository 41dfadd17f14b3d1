#include "base/tensor_type.h"

#include <gtest/gtest.h>

namespace thinkey {
namespace {

TEST(TensorType, GeometryFollowsTheFormat) {
  EXPECT_EQ(traits(TensorType::F32).name, "F32");
  EXPECT_EQ(traits(TensorType::Q6_K).name, "Q6_K");
  // Bytes of 256 elements, from the formats' bits: codes + scales + minima.
  EXPECT_EQ(row_bytes(TensorType::F32, 256), 1024U);
  EXPECT_EQ(row_bytes(TensorType::F16, 256), 512U);
  EXPECT_EQ(row_bytes(TensorType::BF16, 256), 512U);
  EXPECT_EQ(row_bytes(TensorType::Q8_0, 256), 8U * (2 + 32));
  EXPECT_EQ(row_bytes(TensorType::Q4_0, 256), 8U * (2 + 16));
  EXPECT_EQ(row_bytes(TensorType::Q4_1, 256), 8U * (4 + 16));
  EXPECT_EQ(row_bytes(TensorType::Q5_0, 256), 8U * (2 + 4 + 16));
  EXPECT_EQ(row_bytes(TensorType::Q5_1, 256), 8U * (4 + 4 + 16));
  EXPECT_EQ(row_bytes(TensorType::Q4_K, 256), 4U + 12 + 128);
  EXPECT_EQ(row_bytes(TensorType::Q5_K, 256), 4U + 12 + 32 + 128);
  EXPECT_EQ(row_bytes(TensorType::Q6_K, 256), 128U + 64 + 16 + 2);
}

TEST(TensorType, GeometryOfTheLookedUpTypes) {
  EXPECT_EQ(row_bytes(TensorType::Q2_K, 256), 16U + 64 + 4);
  EXPECT_EQ(row_bytes(TensorType::Q3_K, 256), 32U + 64 + 12 + 2);
  EXPECT_EQ(row_bytes(TensorType::IQ4_NL, 256), 8U * (2 + 16));
  EXPECT_EQ(row_bytes(TensorType::IQ4_XS, 256), 2U + 2 + 4 + 128);
  EXPECT_EQ(row_bytes(TensorType::MXFP4, 256), 8U * (1 + 16));
  EXPECT_EQ(row_bytes(TensorType::IQ2_XXS, 256), 2U + 64);
  EXPECT_EQ(row_bytes(TensorType::IQ2_XS, 256), 2U + 64 + 8);
  EXPECT_EQ(row_bytes(TensorType::IQ2_S, 256), 2U + 32 + 32 + 8 + 8);
  EXPECT_EQ(row_bytes(TensorType::IQ3_XXS, 256), 2U + 64 + 32);
  EXPECT_EQ(row_bytes(TensorType::IQ3_S, 256), 2U + 64 + 8 + 32 + 4);
  EXPECT_EQ(row_bytes(TensorType::IQ1_S, 256), 2U + 32 + 16);
  EXPECT_EQ(row_bytes(TensorType::IQ1_M, 256), 32U + 16 + 8);
}

TEST(TensorType, EveryTypeIsFoundByItsNameAndNumber) {
  for (std::size_t i = 0; i < kTensorTypeCount; ++i) {
    const auto type = static_cast<TensorType>(i);
    EXPECT_EQ(find_tensor_type(traits(type).name), type);
    EXPECT_EQ(find_tensor_type(traits(type).ggml), type);
    EXPECT_EQ(is_plain(type), i < 3);
  }
  EXPECT_EQ(traits(TensorType::IQ1_M).name, "IQ1_M");
  EXPECT_EQ(find_tensor_type("Q8_K"), std::nullopt);
  EXPECT_EQ(find_tensor_type(4U), std::nullopt);
}

TEST(TensorType, EmptyRowsTakeNoBytes) {
  EXPECT_EQ(row_bytes(TensorType::Q4_K, 0), 0U);
  EXPECT_EQ(row_bytes(TensorType::F16, 3), 6U);
}

}  // namespace
}  // namespace thinkey
