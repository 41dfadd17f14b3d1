#include "backend/cpu/ops/matmul.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <oneapi/dnnl/dnnl.hpp>
#include <string>
#include <vector>

#include "backend/cpu/ops/random_rows.h"
#include "base/half.h"
#include "base/parallel.h"

namespace thinkey {
namespace {

constexpr float kUntouched = 12345.0F;

std::string name_of(const MatmulShape& s) {
  return std::to_string(s.m) + "x" + std::to_string(s.n) + "x" + std::to_string(s.k) + " ld " +
         std::to_string(s.lda) + " " + std::to_string(s.ldb) + " " + std::to_string(s.ldc) +
         (s.b_transposed ? " transposed" : "") + (s.accumulate ? " accumulating" : "");
}

MatmulShape shape_of(std::size_t m, std::size_t n, std::size_t k, std::size_t gap = 0) {
  return {.m = m, .n = n, .k = k, .lda = k + gap, .ldb = k + gap, .ldc = n + gap};
}

float widened(float x) { return x; }
float widened(bf16_bits x) { return f32_from_bf16(x); }

template <typename T>
std::vector<T> random_matrix(std::size_t rows, std::size_t leading, unsigned seed) {
  const auto x = normal_numbers(static_cast<std::size_t>(rows * leading), seed);
  std::vector<T> out(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) {
    if constexpr (std::is_same_v<T, float>) {
      out[i] = x[i];
    } else {
      out[i] = bf16_from_f32(x[i]);
    }
  }
  return out;
}

// The largest error in units of the f32 bound: sum of |a b| times 2^-24. Gaps must stay untouched.
template <typename T>
double worst_error(const MatmulShape& s) {
  const auto a = random_matrix<T>(s.m, s.lda, 1);
  const auto b = random_matrix<T>(s.b_transposed ? s.n : s.k, s.ldb, 2);
  std::vector<float> c(static_cast<std::size_t>(s.m * s.ldc), kUntouched);
  for (std::size_t i = 0; i < s.m; ++i) {
    for (std::size_t j = 0; j < s.n; ++j) c[i * s.ldc + j] = s.accumulate ? 0.5F : NAN;
  }
  matmul(s, a.data(), b.data(), c.data());
  double worst = 0;
  for (std::size_t i = 0; i < s.m; ++i) {
    for (std::size_t j = 0; j < s.ldc; ++j) {
      const float got = c[i * s.ldc + j];
      if (j >= s.n) {
        if (got != kUntouched) return HUGE_VAL;
        continue;
      }
      double want = s.accumulate ? 0.5 : 0.0;
      double bound = std::abs(want);
      for (std::size_t p = 0; p < s.k; ++p) {
        const double product =
            double{widened(a[i * s.lda + p])} * widened(s.b_transposed ? b[j * s.ldb + p] : b[p * s.ldb + j]);
        want += product;
        bound += std::abs(product);
      }
      const double error = std::abs(got - want) / (bound * 0x1p-24 + 1e-37);
      worst = std::isnan(error) ? HUGE_VAL : std::max(worst, error);
    }
  }
  return worst;
}

void check(MatmulShape s) {
  for (const bool transposed : {true, false}) {
    for (const bool accumulate : {false, true}) {
      const std::size_t gap = s.lda - s.k;
      s.b_transposed = transposed;
      s.ldb = (transposed ? s.k : s.n) + gap;
      s.accumulate = accumulate;
      // Half of sqrt(k) roundings would be typical; 8 leaves room and still catches one bf16 rounding.
      EXPECT_LT(worst_error<float>(s), 8.0) << "f32 " << name_of(s);
      EXPECT_LT(worst_error<bf16_bits>(s), 8.0) << "bf16 " << name_of(s);
    }
  }
}

TEST(Matmul, EqualsTheDefinitionForManyShapes) {
  for (const std::size_t gap : {0, 3, 16}) {
    check(shape_of(1, 1, 1, gap));
    check(shape_of(1, 1, 77, gap));
    check(shape_of(3, 5, 7, gap));
    check(shape_of(1, 64, 33, gap));
    check(shape_of(64, 1, 64, gap));
    check(shape_of(17, 31, 1, gap));
    check(shape_of(16, 64, 2, gap));
    check(shape_of(31, 100, 130, gap));
    check(shape_of(128, 64, 48, gap));
    check(shape_of(65, 257, 129, gap));
  }
  check(shape_of(2, 3, 2500));
  check(shape_of(33, 600, 1030, 2));
}

TEST(Matmul, NoSizeIsNoWorkAndNoDepthIsZero) {
  float c[4] = {1, 2, 3, 4};
  const float none = 0;
  matmul(shape_of(0, 4, 4), &none, &none, c);
  matmul(shape_of(4, 0, 4), &none, &none, c);
  EXPECT_EQ(c[0], 1);
  MatmulShape s = shape_of(2, 1, 0);
  s.ldc = 2;
  s.accumulate = true;
  matmul(s, &none, &none, c);
  EXPECT_EQ(c[0], 1);
  s.accumulate = false;
  const bf16_bits none16{0};
  matmul(s, &none16, &none16, c);
  EXPECT_EQ(c[0], 0);
  EXPECT_EQ(c[1], 2);  // the gap
  EXPECT_EQ(c[2], 0);
  EXPECT_EQ(c[3], 4);
}

class MatmulThreads : public ::testing::Test {
 protected:
  void TearDown() override { set_threads(before_); }

 private:
  int before_ = threads();
};

TEST_F(MatmulThreads, AnyThreadCountGivesTheSameProduct) {
  for (const int n : {1, 4, 2, 1, 3}) {
    set_threads(n);
    check(shape_of(100, 300, 70));
  }
}

// Tasks multiply different shapes at once, each on its own thread, again and again.
TEST_F(MatmulThreads, DifferentProductsRunAtOnceInsideParallelFor) {
  set_threads(4);
  std::vector<double> errors(64, HUGE_VAL);
  parallel_for(errors.size(), [&](std::size_t i) {
    const auto size = static_cast<std::size_t>(8 + i % 7 * 19);
    MatmulShape s = shape_of(size, 48 + static_cast<std::int64_t>(i % 3), 64);
    s.accumulate = i % 2 == 1;
    errors[i] = std::max(worst_error<float>(s), worst_error<bf16_bits>(s));
  });
  EXPECT_LT(*std::max_element(errors.begin(), errors.end()), 8.0);
}

TEST_F(MatmulThreads, InsideParallelForRepeatsBitForBit) {
  set_threads(4);
  const auto a = random_matrix<bf16_bits>(64, 128, 1);
  const auto b = random_matrix<bf16_bits>(96, 128, 2);
  std::vector<std::vector<float>> c(16, std::vector<float>(std::size_t{64} * 96));
  parallel_for(c.size(),
               [&](std::size_t i) { matmul(shape_of(64, 96, 128), a.data(), b.data(), c[i].data()); });
  for (const auto& each : c) EXPECT_EQ(each, c[0]);
}

// More shapes than are remembered; the forgotten ones must come back.
TEST(Matmul, ForgetsAndRemakesPrimitives) {
  for (std::size_t m = 1; m <= 300; ++m) {
    const std::vector<float> a(static_cast<std::size_t>(m), 2.0F);
    const float b = 3.0F;
    std::vector<float> c(static_cast<std::size_t>(m));
    matmul(shape_of(m, 1, 1), a.data(), &b, c.data());
    ASSERT_EQ(std::count(c.begin(), c.end(), 6.0F), m);
  }
  check(shape_of(3, 5, 7));
}

TEST(Matmul, Bf16ClaimFollowsTheCpu) {
#if defined(__x86_64__)
  // GCC and clang know the instruction set by this name.
  if (std::getenv("ONEDNN_MAX_CPU_ISA") == nullptr && std::getenv("DNNL_MAX_CPU_ISA") == nullptr) {
    EXPECT_EQ(cpu_multiplies_bf16(), __builtin_cpu_supports("avx512bf16") != 0);
  }
#else
  (void)cpu_multiplies_bf16();
#endif
}

#if defined(__x86_64__)
// The library's limit must be set before its first use, hence a process of its own.
int products_on(dnnl::cpu_isa isa) {
  if (dnnl::set_max_cpu_isa(isa) != dnnl::status::success) return 2;
  MatmulShape s = shape_of(37, 300, 1100, 5);  // several blocks of the widening fallback
  for (const bool transposed : {true, false}) {
    s.b_transposed = transposed;
    s.ldb = (transposed ? s.k : s.n) + 5;
    for (const bool accumulate : {false, true}) {
      s.accumulate = accumulate;
      if (worst_error<bf16_bits>(s) >= 8.0 || worst_error<float>(s) >= 8.0) return 3;
    }
  }
  return cpu_multiplies_bf16() ? 4 : 0;
}

TEST(MatmulDeathTest, OlderCpusMultiplyBf16Correctly) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(std::exit(products_on(dnnl::cpu_isa::sse41)), ::testing::ExitedWithCode(0), "");
  EXPECT_EXIT(std::exit(products_on(dnnl::cpu_isa::avx2)), ::testing::ExitedWithCode(0), "");
  EXPECT_EXIT(std::exit(products_on(dnnl::cpu_isa::avx512_core)), ::testing::ExitedWithCode(0), "");
}
#endif

}  // namespace
}  // namespace thinkey
