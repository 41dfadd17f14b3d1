#include "formats/rope_frequencies.h"

#include "formats/format_test_util.h"
#include "formats/hf_config.h"

namespace thinkey {
namespace {

using namespace thinkey::testing;  // NOLINT(google-build-using-namespace)

TEST(RopeFrequencies, Plain) {
  const std::vector<double> f = rope_frequencies(8, 10000.0);
  ASSERT_EQ(f.size(), 4U);
  EXPECT_DOUBLE_EQ(f[0], 1.0);
  EXPECT_DOUBLE_EQ(f[1], 0.1);
  EXPECT_DOUBLE_EQ(f[2], 0.01);
  EXPECT_DOUBLE_EQ(f[3], 0.001);
}

// All types, in the newer and the older spelling, against transformers' own numbers (made in f32).
TEST(RopeFrequencies, AsTransformers) {
  ASSERT_EQ(expected()["rope"].size(), 4U);
  for (const auto& rope : expected()["rope"]) {
    for (const auto& json : rope["configs"]) {
      const Hyperparameters h = read_hf_config(JsonView(json, "config.json")).hyperparameters;
      EXPECT_EQ(h.rope_scaling, rope["type"] == "default" ? "none" : rope["type"].get<std::string>());
      const auto wanted = rope["frequencies"].get<std::vector<float>>();
      ASSERT_EQ(h.rope_inverse_frequencies.size(), wanted.size());
      for (std::size_t i = 0; i < wanted.size(); ++i) {
        EXPECT_NEAR(h.rope_inverse_frequencies[i] / wanted[i], 1.0, 1e-6) << json.dump() << " pair " << i;
      }
    }
  }
}

}  // namespace
}  // namespace thinkey
