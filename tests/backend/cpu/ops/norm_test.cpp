#include "backend/cpu/ops/norm.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "backend/cpu/ops/each_highway_target.h"
#include "backend/cpu/ops/random_rows.h"

namespace thinkey {
namespace {

std::vector<float> reference(const std::vector<float>& x, const std::vector<float>& weight, float epsilon,
                             std::size_t rows) {
  const std::size_t width = weight.size();
  std::vector<float> out(x.size());
  for (std::size_t t = 0; t < rows; ++t) {
    double squares = 0;
    for (std::size_t i = 0; i < width; ++i) squares += std::pow(double{x[t * width + i]}, 2);
    const double scale = 1.0 / std::sqrt(squares / static_cast<double>(width) + epsilon);
    for (std::size_t i = 0; i < width; ++i) {
      out[t * width + i] = static_cast<float>(x[t * width + i] * scale * weight[i]);
    }
  }
  return out;
}

void expect_close(const std::vector<float>& got, const std::vector<float>& want) {
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    ASSERT_NEAR(got[i], want[i], 1e-6F * (1.0F + std::abs(want[i]))) << "element " << i;
  }
}

TEST(RmsNorm, EqualsTheDefinitionAtEveryWidth) {
  for_each_highway_target([] {
    for (const std::size_t width : {1, 2, 3, 7, 15, 16, 17, 31, 63, 64, 65, 100, 129, 576, 2048, 2051}) {
      constexpr std::size_t kRows = 5;
      const auto x = normal_numbers(kRows * width, 1, 3.0F);
      const auto weight = normal_numbers(width, 2);
      std::vector<float> out(x.size(), NAN);
      rms_norm(x.data(), weight.data(), 1e-5F, kRows, width, out.data());
      expect_close(out, reference(x, weight, 1e-5F, kRows));
    }
  });
}

TEST(RmsNorm, WorksInPlace) {
  for_each_highway_target([] {
    auto x = normal_numbers(std::size_t{3} * 77, 3);
    const auto weight = normal_numbers(77, 4);
    const auto want = reference(x, weight, 1e-6F, 3);
    rms_norm(x.data(), weight.data(), 1e-6F, 3, 77, x.data());
    expect_close(x, want);
  });
}

TEST(RmsNorm, SharesManyRowsAmongTasks) {
  const auto x = normal_numbers(std::size_t{1000} * 96, 5);
  const auto weight = normal_numbers(96, 6);
  std::vector<float> out(x.size(), NAN);
  rms_norm(x.data(), weight.data(), 1e-5F, 1000, 96, out.data());
  expect_close(out, reference(x, weight, 1e-5F, 1000));
}

TEST(RmsNorm, EpsilonKeepsZerosFinite) {
  const std::vector<float> x(40, 0.0F);
  const std::vector<float> weight(40, 1.0F);
  std::vector<float> out(40, NAN);
  rms_norm(x.data(), weight.data(), 1e-5F, 1, 40, out.data());
  for (const float value : out) EXPECT_EQ(value, 0.0F);
}

TEST(RmsNorm, NoRowsAndNoWidthDoNotCrash) {
  rms_norm(nullptr, nullptr, 1e-5F, 0, 64, nullptr);
  rms_norm(nullptr, nullptr, 1e-5F, 4, 0, nullptr);
}

}  // namespace
}  // namespace thinkey
