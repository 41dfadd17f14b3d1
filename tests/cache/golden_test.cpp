// Equality with the authors' public code: the files under fixtures/golden were made by running it
// (ThinK commit d200577; the `gqa` files use the same functions with scores averaged over a group).
#include <gtest/gtest.h>

#include <cmath>
#include <cstddef>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "backend/cpu/store/block_codec.h"
#include "cache/random_prompt.h"
#include "formats/safetensors.h"

namespace thinkey {
namespace {

class Golden : public ::testing::TestWithParam<const char*> {};

// The kept set of a row equals `expected` except where scores tie to within 1e-6 relative.
void expect_same_set(const std::set<std::int64_t>& kept, const std::set<std::int64_t>& expected,
                     const std::vector<float>& scores) {
  if (kept == expected) return;
  ASSERT_EQ(kept.size(), expected.size());
  double lowest_kept = 1e30;
  for (const auto i : kept) lowest_kept = std::min(lowest_kept, static_cast<double>(scores[i]));
  for (const auto i : expected) {
    if (!kept.contains(i)) {
      EXPECT_LE(std::abs(scores[i] - lowest_kept), 1e-6 * lowest_kept) << "index " << i;
    }
  }
}

TEST_P(Golden, KeptTokensChannelsAndOutput) {
  const SafetensorsFile file(std::string(THINKEY_FIXTURES) + "/golden/" + GetParam() + ".safetensors");
  const auto& meta = file.metadata();
  const auto& q_shape = file.at("q").shape;
  const auto& k_shape = file.at("k").shape;
  const auto heads = static_cast<std::size_t>(q_shape[0]);
  const auto tokens = static_cast<std::size_t>(q_shape[1]);
  const auto dim = static_cast<std::size_t>(q_shape[2]);
  const auto kv_heads = static_cast<std::size_t>(k_shape[0]);
  const std::vector<float> q = to_floats(file.at("q"));
  const std::vector<float> k = to_floats(file.at("k"));
  const std::vector<float> v = to_floats(file.at("v"));

  CacheSpec spec;
  if (meta.at("eviction") == "h2o") {
    spec.eviction.policy =
        H2O{.window = std::stoull(meta.at("window")), .observe_window = true};  // what the public code does
  } else {
    spec.eviction.policy =
        SnapKV{.window = std::stoull(meta.at("window")),
               .kernel = std::stoull(meta.at("kernel")),
               .pooling = meta.at("pooling") == "maxpool" ? Pooling::Max : Pooling::Average};
  }
  spec.eviction.budget = std::stoull(meta.at("capacity"));
  spec.channels.keys = std::stod(meta.at("ratio"));
  spec.channels.form = KeyForm::Paper;
  spec.channels.recent = std::stoll(meta.at("recent"));

  SequenceCache cache(CacheShape::uniform(1, {heads, kv_heads, dim}), spec);
  PromptView prompt;
  prompt.tokens = prompt.queries = prompt.capacity = tokens;
  prompt.q = q.data();
  prompt.q_token_stride = dim;
  prompt.q_head_stride = tokens * dim;
  prompt.k = k.data();
  prompt.v = v.data();
  CompressionTrace trace;
  cache.compress_prompt(0, prompt, &trace);

  const std::vector<std::int64_t> kept_tokens = to_integers(file.at("kept_tokens"));
  const std::vector<std::int64_t> kept_channels = to_integers(file.at("kept_channels"));
  const std::size_t budget = kept_tokens.size() / kv_heads;
  for (std::size_t h = 0; h < kv_heads; ++h) {
    const auto* begin = kept_tokens.data() + h * budget;
    EXPECT_EQ(std::vector<std::int64_t>(trace.kept_tokens[h].begin(), trace.kept_tokens[h].end()),
              std::vector<std::int64_t>(begin, begin + budget))
        << "head " << h;
    std::set<std::int64_t> expected;
    for (std::size_t c = 0; c < dim; ++c) {
      if (kept_channels[h * dim + c] != 0) expected.insert(static_cast<std::int64_t>(c));
    }
    const auto channels = test::cpu_heads(cache, 0)[h].kept_keys().channels();
    expect_same_set({channels.begin(), channels.end()}, expected, trace.channel_scores[h]);
  }
  if (const auto* scores = file.find("channel_scores")) {
    const std::vector<float> expected = to_floats(*scores);
    for (std::size_t h = 0; h < kv_heads; ++h) {
      for (std::size_t c = 0; c < dim; ++c) {
        EXPECT_NEAR(trace.channel_scores[h][c], expected[h * dim + c],
                    1e-5 * std::abs(expected[h * dim + c]));
      }
    }
  }

  const std::vector<float> decode_q = to_floats(file.at("decode_q"));
  const std::vector<float> decode_out = to_floats(file.at("decode_out"));
  std::vector<float> out(heads * dim);
  cache.attend(0, 1, static_cast<std::int64_t>(tokens), decode_q.data(), out.data());
  double scale = 0.0;
  for (const float x : decode_out) scale = std::max(scale, std::abs(static_cast<double>(x)));
  // Ours is stored in f16, theirs in f32.
  for (std::size_t i = 0; i < out.size(); ++i) EXPECT_NEAR(out[i], decode_out[i], 2e-3 * scale) << i;
}

INSTANTIATE_TEST_SUITE_P(Authors, Golden,
                         ::testing::Values("think_mha_h2o", "think_mha_snapkv", "think_mha_snapkv_maxpool",
                                           "think_gqa_snapkv", "think_gqa_wide"),
                         [](const auto& p) { return std::string(p.param); });

class GoldenKivi : public ::testing::TestWithParam<std::size_t> {};

// KIVI's pack functions: codes are equal, and so is what a block reads back but for scales in f16.
TEST_P(GoldenKivi, CodesScalesAndDequantization) {
  const std::size_t bits = GetParam();
  const SafetensorsFile file(std::string(THINKEY_FIXTURES) + "/golden/kivi_" + std::to_string(bits) +
                             "bit.safetensors");
  const std::size_t heads = 2;
  const std::size_t tokens = 64;
  const std::size_t dim = 64;
  const std::vector<float> k = to_floats(file.at("k"));
  const std::vector<float> v = to_floats(file.at("v"));
  const auto k_codes = to_integers(file.at("k_codes"));
  const auto v_codes = to_integers(file.at("v_codes"));
  const std::vector<float> k_scale = to_floats(file.at("k_scale"));
  const std::vector<float> k_min = to_floats(file.at("k_min"));
  const std::vector<float> v_scale = to_floats(file.at("v_scale"));
  const std::vector<float> v_min = to_floats(file.at("v_min"));
  const std::vector<float> k_dequant = to_floats(file.at("k_dequant"));
  const std::vector<float> v_dequant = to_floats(file.at("v_dequant"));

  const ElementFormat format = bits == 4 ? ElementFormat::Q4 : ElementFormat::Q2;
  const BlockLayout layout(uniform_keys(dim, format), dim, format);
  std::vector<std::byte> block(layout.bytes);
  StagedBlock staged;
  StagedBlock read;
  for (std::size_t h = 0; h < heads; ++h) {
    for (std::size_t b = 0; b < tokens / kBlockTokens; ++b) {
      staged.reset(layout);
      staged.tokens = kBlockTokens;
      for (std::size_t t = 0; t < kBlockTokens; ++t) {
        const std::size_t at = (h * tokens + b * kBlockTokens + t) * dim;
        staged.positions[t] = static_cast<std::int32_t>(t);
        for (std::size_t c = 0; c < dim; ++c) {
          staged.keys[c * kBlockTokens + t] = k[at + c];
          staged.values[t * dim + c] = v[at + c];
        }
      }
      std::uint8_t codes[kBlockTokens];
      for (std::size_t c = 0; c < dim; ++c) {
        const QuantizedGroup group =
            quantize_group({staged.keys.data() + c * kBlockTokens, kBlockTokens}, bits, codes);
        EXPECT_EQ(group.scale, k_scale[(h * 2 + b) * dim + c]);
        EXPECT_EQ(group.minimum, k_min[(h * 2 + b) * dim + c]);
        for (std::size_t t = 0; t < kBlockTokens; ++t) {
          EXPECT_EQ(codes[t], k_codes[(h * tokens + b * kBlockTokens + t) * dim + c]);
        }
      }
      for (std::size_t t = 0; t < kBlockTokens; ++t) {
        for (std::size_t g = 0; g < 2; ++g) {
          const QuantizedGroup group =
              quantize_group({staged.values.data() + t * dim + g * 32, 32}, bits, codes);
          const std::size_t row = h * tokens + b * kBlockTokens + t;
          EXPECT_EQ(group.scale, v_scale[row * 2 + g]);
          EXPECT_EQ(group.minimum, v_min[row * 2 + g]);
          for (std::size_t c = 0; c < 32; ++c) EXPECT_EQ(codes[c], v_codes[row * dim + g * 32 + c]);
        }
      }
      encode_block(layout, staged, block.data());
      decode_block(layout, block.data(), read);
      for (std::size_t t = 0; t < kBlockTokens; ++t) {
        for (std::size_t c = 0; c < dim; ++c) {
          const std::size_t at = (h * tokens + b * kBlockTokens + t) * dim + c;
          // Scale and minimum each lose up to 2^-11 of themselves, the scale times the code.
          const auto rounding = [&](float scale, float minimum) {
            return (std::abs(minimum) + scale * static_cast<float>((1U << bits) - 1U)) / 2048.0F + 1e-6F;
          };
          const std::size_t key_group = (h * 2 + b) * dim + c;
          const std::size_t value_group = (h * tokens + b * kBlockTokens + t) * 2 + c / 32;
          EXPECT_NEAR(read.keys[c * kBlockTokens + t], k_dequant[at],
                      rounding(k_scale[key_group], k_min[key_group]));
          EXPECT_NEAR(read.values[t * dim + c], v_dequant[at],
                      rounding(v_scale[value_group], v_min[value_group]));
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Authors, GoldenKivi, ::testing::Values(4, 2));

}  // namespace
}  // namespace thinkey
