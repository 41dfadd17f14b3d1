#include "backend/cpu/ops/activation.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "backend/cpu/ops/each_highway_target.h"
#include "backend/cpu/ops/random_rows.h"

namespace thinkey {
namespace {

double swiglu_of(double gate, double up) { return gate / (1.0 + std::exp(-gate)) * up; }

TEST(Swiglu, EqualsTheDefinitionAtEveryLength) {
  for_each_highway_target([] {
    for (const std::size_t n : {0, 1, 3, 4, 7, 8, 15, 16, 17, 31, 32, 33, 64, 100, 1000}) {
      const auto gate = normal_numbers(n, 1, 4.0F);
      const auto up = normal_numbers(n, 2);
      std::vector<float> out(n, NAN);
      gated_activation(Activation::Silu, gate.data(), up.data(), n, out.data());
      for (std::size_t i = 0; i < n; ++i) {
        const double want = swiglu_of(gate[i], up[i]);
        ASSERT_NEAR(out[i], want, 5e-7 * std::abs(want) + 1e-30) << i << " of " << n;
      }
    }
  });
}

// The other activations, against their definitions in double precision.
TEST(GatedActivation, EqualsTheDefinitions) {
  const auto wanted = [](Activation activation, double gate, double up) {
    switch (activation) {
      case Activation::Silu:
        return swiglu_of(gate, up);
      case Activation::GeluTanh:
        return 0.5 * gate * (1.0 + std::tanh(0.7978845608028654 * (gate + 0.044715 * gate * gate * gate))) *
               up;
      case Activation::ReluSquared:
        return up > 0 ? up * up : 0.0;
      case Activation::ClampedSwiglu: {
        const double g = std::min(gate, 7.0);
        return g / (1.0 + std::exp(-1.702 * g)) * (std::clamp(up, -7.0, 7.0) + 1.0);
      }
    }
    return 0.0;
  };
  for_each_highway_target([&] {
    for (const Activation activation :
         {Activation::Silu, Activation::GeluTanh, Activation::ReluSquared, Activation::ClampedSwiglu}) {
      for (const std::size_t n : {1, 7, 16, 33, 1000}) {
        const auto gate = normal_numbers(n, 1, 6.0F);
        const auto up = normal_numbers(n, 2, 6.0F);
        std::vector<float> out(n, NAN);
        gated_activation(activation, gate.data(), up.data(), n, out.data());
        for (std::size_t i = 0; i < n; ++i) {
          const double want = wanted(activation, gate[i], up[i]);
          ASSERT_NEAR(out[i], want, 2e-6 * std::abs(want) + 1e-6) << static_cast<int>(activation) << ' ' << i;
        }
      }
    }
  });
}

TEST(Swiglu, IsFiniteForLargeGates) {
  for_each_highway_target([] {
    const std::vector<float> gate{-1e30F, -1000.0F, -100.0F, -88.5F, -40.0F, 0.0F, 40.0F, 88.5F, 1000.0F};
    const std::vector<float> up(gate.size(), 1.0F);
    std::vector<float> out(gate.size(), NAN);
    gated_activation(Activation::Silu, gate.data(), up.data(), gate.size(), out.data());
    for (std::size_t i = 0; i < gate.size(); ++i) {
      const double want = swiglu_of(gate[i], 1.0);
      EXPECT_NEAR(out[i], want, 1e-6 * std::abs(want) + 1e-36) << gate[i];
    }
  });
}

TEST(Swiglu, ManyElementsInPlaceInTasks) {
  constexpr std::size_t kCount = 100'003;
  auto gate = normal_numbers(kCount, 3);
  const auto up = normal_numbers(kCount, 4);
  const auto before = gate;
  gated_activation(Activation::Silu, gate.data(), up.data(), kCount, gate.data());
  for (std::size_t i = 0; i < kCount; ++i) {
    const double want = swiglu_of(before[i], up[i]);
    ASSERT_NEAR(gate[i], want, 5e-7 * std::abs(want) + 1e-30) << i;
  }
}

TEST(Add, AddsEveryElement) {
  for_each_highway_target([] {
    for (const std::size_t n : {0, 1, 5, 16, 19, 64, 40'001}) {
      const auto x = normal_numbers(n, 5);
      auto out = normal_numbers(n, 6);
      const auto before = out;
      add(x.data(), n, out.data());
      for (std::size_t i = 0; i < n; ++i) ASSERT_EQ(out[i], before[i] + x[i]) << i << " of " << n;
    }
  });
}

}  // namespace
}  // namespace thinkey
