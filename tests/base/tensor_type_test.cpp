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

TEST(TensorType, EmptyRowsTakeNoBytes) {
  EXPECT_EQ(row_bytes(TensorType::Q4_K, 0), 0U);
  EXPECT_EQ(row_bytes(TensorType::F16, 3), 6U);
}

}  // namespace
}  // namespace thinkey
