// Cache files whose checksum is right and whose lists are not what any spec leaves; numbers no code can hold;
// specs that ask for much.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <limits>
#include <optional>
#include <random>
#include <string>

#include "base/byte_stream.h"
#include "cache/cache_file.h"
#include "cache/random_prompt.h"
#include "thinkey/error.h"

namespace thinkey {
namespace {

using ::testing::HasSubstr;

template <typename Call>
std::string error_of(const Call& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "accepted";
}

const CacheShape kShape = CacheShape::uniform(1, {2, 1, 16});

// What a head's lists in a file may say.
struct Lists {
  std::vector<std::uint16_t> keys, counts, values;
  std::vector<std::uint16_t> means = {};
};

// What else is not as it should be.
struct Forgery {
  std::size_t positions = 32;
  std::optional<std::uint8_t> values = {};   // instead of the spec's
  std::optional<std::int8_t> exponent = {};  // of the scales of levels
};

std::string load_forged(const char* spec, const Lists& lists, const Forgery& forgery = {}) {
  const std::filesystem::path path =
      std::filesystem::temp_directory_path() / ("thinkey-forged-" + std::to_string(::getpid()));
  {
    AtomicFile file(path);
    ByteWriter out(file);
    out.bytes(std::as_bytes(std::span("THNKYKV1", 8)));
    out.value(kCacheFileVersion);
    out.value(std::uint64_t{7});
    out.array(std::span<const std::byte>());
    out.array(std::span(std::string_view(spec)));
    const std::vector<std::uint64_t> numbers = {2, 1, 16, 0};
    out.array(std::span(numbers));
    out.value(std::int64_t{32});  // next position
    for (int i = 0; i < 3; ++i) out.value(std::int64_t{0});
    out.array(std::span<const float>());
    out.value(std::uint8_t{1});
    out.array(std::span(lists.keys));
    for (const std::uint16_t n : lists.counts) out.value(n);
    for (std::size_t f = lists.counts.size(); f < kElementFormats; ++f) out.value(std::uint16_t{0});
    out.array(std::span(lists.means));
    out.array(std::span(lists.values));
    const ElementFormat values = store_format(CacheSpec::parse(spec)).values;
    out.value(forgery.values.value_or(static_cast<std::uint8_t>(values)));
    KeyCounts counts{};
    std::copy(lists.counts.begin(), lists.counts.end(), counts.begin());
    const BlockLayout layout =
        HeadStore::thin_layout(counts, lists.values.size(), values, store_format(CacheSpec::parse(spec)));
    std::vector<std::byte> block(layout.bytes);
    layout.clear(block.data());
    for (std::size_t t = 0; t < forgery.positions; ++t) {
      layout.add_position(block.data(), t, static_cast<std::int32_t>(t));
    }
    for (const KeyRun& run : layout.key_runs) {
      if (forgery.exponent && run.channels > 0) {
        *BlockLayout::at<std::int8_t>(block.data(), run.scales + kBlockTokens) = *forgery.exponent;
      }
    }
    out.value(std::uint64_t{1});
    out.bytes(block);
    out.value(std::uint64_t{0});  // no recent blocks
    const std::uint64_t digest = out.digest();
    file.write(std::as_bytes(std::span(&digest, 1)));
    file.commit();
  }
  const std::string error = error_of([&] { (void)load_cache(path, kShape, 7, nullptr); });
  std::filesystem::remove(path);
  return error;
}

std::vector<std::uint16_t> first(std::uint16_t n) {
  std::vector<std::uint16_t> out(n);
  for (std::uint16_t i = 0; i < n; ++i) out[i] = i;
  return out;
}

TEST(ForgedCache, ListsMustBeSuchAsTheSpecLeaves) {
  EXPECT_EQ(load_forged("kivi:2,residual=0", {first(16), {0, 0, 0, 16}, first(16)}), "accepted");
  EXPECT_EQ(load_forged("think:0.5,form=paper+kivi:2,residual=0", {first(8), {0, 0, 0, 8}, first(16)}),
            "accepted");
  EXPECT_EQ(load_forged("think:0.5", {first(4), {1, 0, 2, 1}, first(16)}), "accepted");
  // The issue's: no value channels, three key channels in formats 1, 0, 1.
  EXPECT_THAT(load_forged("kivi:2,residual=0", {first(3), {1, 0, 1, 1}, {}}), HasSubstr("fit the spec"));
  EXPECT_THAT(load_forged("kivi:2,residual=0", {first(16), {0, 0, 0, 16}, {}}), HasSubstr("fit the spec"));
  EXPECT_THAT(load_forged("kivi:2,residual=0", {first(16), {16, 0, 0, 0}, first(16)}),
              HasSubstr("fit the spec"));
  EXPECT_THAT(load_forged("think:0.5,form=paper", {first(7), {7, 0, 0, 0}, first(16)}),
              HasSubstr("fit the spec"));
  EXPECT_THAT(load_forged("think:0.5,form=paper", {first(8), {8, 0, 0, 0}, first(15)}),
              HasSubstr("fit the spec"));
  EXPECT_THAT(load_forged("think:0.5,bias,form=paper", {first(8), {8, 0, 0, 0}, first(16)}),
              HasSubstr("fit the spec"));
  EXPECT_THAT(load_forged("think:0.5,bias,form=paper",
                          {first(8), {8, 0, 0, 0}, first(16), {0, 0, 0, 0, 0, 0, 0, 0x7E00}}),
              HasSubstr("not finite"));
  EXPECT_THAT(load_forged("full", {first(16), {16, 0, 0, 0}, first(16)}, {.positions = 0}),
              HasSubstr("no tokens"));
}

// Levels come alone, for keys and values, with a mean; their scales are numbers.
TEST(ForgedCache, LevelsMustBeSuchAsTheSpecLeaves) {
  const char* spec = "turbo:keys=4,values=2,sinks=0,recent=0";
  const auto keys = [](ElementFormat format, std::uint16_t n) {
    std::vector<std::uint16_t> counts(kElementFormats);
    counts[static_cast<std::size_t>(format)] = n;
    return counts;
  };
  const std::vector<std::uint16_t> mean(16);
  const std::vector<std::uint16_t> right = keys(ElementFormat::L4, 16);
  EXPECT_EQ(load_forged(spec, {first(16), right, first(16), mean}), "accepted");
  EXPECT_THAT(load_forged(spec, {first(16), right, first(16), std::vector<std::uint16_t>(15)}),
              HasSubstr("do not fit together"));
  // As tokens that no prompt came before.
  EXPECT_EQ(load_forged(spec, {first(16), right, first(16), {}}), "accepted");
  EXPECT_THAT(load_forged(spec, {first(16), keys(ElementFormat::L3, 16), first(16), mean}),
              HasSubstr("fit the spec"));
  EXPECT_THAT(load_forged(spec, {first(12), keys(ElementFormat::L4, 12), first(16), mean}),
              HasSubstr("fit the spec"));
  std::vector<std::uint16_t> two = keys(ElementFormat::L4, 8);
  two[static_cast<std::size_t>(ElementFormat::Q4)] = 8;
  EXPECT_THAT(load_forged(spec, {first(16), two, first(16), mean}), HasSubstr("do not fit together"));
  std::vector<std::uint16_t> bad = mean;
  bad[3] = 0x7C00;
  EXPECT_THAT(load_forged(spec, {first(16), right, first(16), bad}), HasSubstr("not finite"));
  Forgery forgery;
  forgery.values = static_cast<std::uint8_t>(kElementFormats);
  EXPECT_THAT(load_forged(spec, {first(16), right, first(16), mean}, forgery),
              HasSubstr("do not fit together"));
  forgery.values = static_cast<std::uint8_t>(ElementFormat::L2);
  EXPECT_EQ(load_forged(spec, {first(16), right, first(16), mean}, forgery), "accepted");
  forgery.values = static_cast<std::uint8_t>(ElementFormat::L1);
  EXPECT_THAT(load_forged(spec, {first(16), right, first(16), mean}, forgery), HasSubstr("damaged"));
  for (const int exponent : {-128, -127, -120, 127}) {
    Forgery scales;
    scales.exponent = static_cast<std::int8_t>(exponent);
    EXPECT_THAT(load_forged(spec, {first(16), right, first(16), mean}, scales), HasSubstr("not finite"))
        << exponent;
  }
  Forgery scales;
  scales.exponent = std::int8_t{-119};
  EXPECT_EQ(load_forged(spec, {first(16), right, first(16), mean}, scales), "accepted");
}

TEST(ForgedCache, HeadDimensionsHaveOneLimit) {
  for (const std::size_t dim : {0, 4, 12, 520, 1024, 4096, 70000}) {
    EXPECT_THAT(error_of([&] {
                  SequenceCache(CacheShape::uniform(1, {2, 1, dim}), {});
                }),
                ::testing::AllOf(HasSubstr("head dimension " + std::to_string(dim)), HasSubstr("512")));
  }
  EXPECT_EQ(error_of([] { SequenceCache(CacheShape::uniform(1, {2, 1, 512}), {}); }), "accepted");
  EXPECT_THAT(error_of([] {
                SequenceCache(CacheShape::uniform(1, {3, 2, 64}), {});
              }),
              HasSubstr("cannot share"));
}

// The widest heads, in every format: the kernels' arrays hold them.
TEST(ForgedCache, TheWidestHeadsAttend) {
  const AttentionShape shape{.query_heads = 5, .kv_heads = 1, .head_dim = 512};
  for (const char* spec : {"full", "kivi:8,residual=0", "kivi:4,residual=0", "kivi:2,residual=0,group=128",
                           "think:0.3+kivi:4,residual=0"}) {
    test::RandomPrompt prompt(shape, 64, 3);
    SequenceCache cache(CacheShape::uniform(1, shape), CacheSpec::parse(spec));
    cache.compress_prompt(0, prompt.view());
    std::vector<float> out(5 * 512);
    cache.attend(0, 1, 64, prompt.q.data(), out.data());
    for (const float x : out) ASSERT_TRUE(std::isfinite(x)) << spec;
  }
}

TEST(Quantization, OfNumbersBeyondF16IsFinite) {
  std::uint8_t codes[8];
  const std::vector<float> wide = {3.4e38F, -3.4e38F, 0, 0, 0, 0, 0, 0};
  for (const std::size_t bits : {2U, 4U, 8U}) {
    const QuantizedGroup group = quantize_group(wide, bits, codes);
    const auto most = (1U << bits) - 1U;
    EXPECT_TRUE(std::isfinite(f32_from_f16(f16_from_f32(group.scale))));
    EXPECT_TRUE(std::isfinite(f32_from_f16(f16_from_f32(group.minimum))));
    EXPECT_EQ(codes[0], most);
    EXPECT_EQ(codes[1], 0);
    EXPECT_NEAR(codes[2], most / 2.0, 0.51);
  }
}

TEST(Quantization, OfNaNStaysNaN) {
  std::uint8_t codes[4];
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    const std::vector<float> x = {1.0F, bad, 2.0F, 3.0F};
    const QuantizedGroup group = quantize_group(x, 4, codes);
    EXPECT_TRUE(std::isnan(group.scale * codes[0] + group.minimum));
  }
}

TEST(QueryRing, GrowsWithTheQueriesNotWithTheSpec) {
  const CacheShape shape = kShape;
  AllocationCounter counter;
  SequenceCache cache(shape, CacheSpec::parse("snapkv:67108864,window=67108864,every=1"), &counter);
  const std::vector<float> row(32, 0.5F);
  for (int i = 0; i < 100; ++i) {
    cache.append(0, 1, row.data(), row.data(), 16);
    cache.renew(0, 1, i, row.data(), false);
  }
  EXPECT_EQ(cache.report().bytes, counter.live());
  EXPECT_LT(counter.peak(), std::size_t{1} << 17U);
  EXPECT_EQ(query_ring_rows(cache.spec(), 100), 200U);
  EXPECT_EQ(query_ring_rows(CacheSpec::parse("snapkv:64,window=8,every=1"), 100), 8U);
  EXPECT_EQ(query_ring_rows(CacheSpec::parse("snapkv:64,window=8"), 100), 0U);
}

// Whatever fields a program sets: what is printed reads as what the spec means.
TEST(CacheSpecProperty, ParseOfPrintIsTheNormalizedSpec) {
  std::mt19937_64 random(11);
  const auto pick = [&](auto... choices) {
    const std::array all = {choices...};
    return all[random() % all.size()];
  };
  std::size_t valid = 0;
  for (int i = 0; i < 200000; ++i) {
    CacheSpec spec;
    const std::size_t window = pick(1U, 8U, 32U, 64U);
    const std::size_t kernel = pick(1U, 5U, 7U, 1023U);
    const Pooling pooling = pick(Pooling::Average, Pooling::Max);
    const std::size_t sinks = pick(0U, 4U, 9U);
    const bool flag = random() % 2 == 0;
    const std::array<PolicyOptions, 12> policies = {
        NoEviction{},
        SnapKV{window, kernel, pooling},
        H2O{window, flag},
        PyramidKV{window, kernel, pooling, pick(1.0, 20.0, 3.25, 1e6)},
        Streaming{sinks},
        Tova{},
        ExpectedAttention{pick(1U, 512U), sinks, flag, pooling == Pooling::Max, pick(0.0, 0.02), window},
        KeyDiff{},
        KVzip{sinks, flag},
        Compactor{sinks, pick(0U, 4U), pick(2U, 256U), pick(-1.0, 0.35, 0.0)},
        LagKV{sinks, pick(2U, 128U)},
        RKV{window, kernel, pick(0.0, 0.1, 1.0), pick(-1.0, 0.5, 1.0)}};
    spec.eviction.policy = policies[random() % policies.size()];
    spec.eviction.budget = pick(0, 1, 40, 64, 2048, 1 << 30);
    spec.eviction.percent = pick(0.0, -1.0, 1e-300, 0.1, 33.3, 100.0);
    spec.eviction.every = pick(0, 1, 100);
    spec.eviction.adakv = random() % 2 == 0;
    spec.eviction.floor = pick(0.2, 0.2, 0.5);
    spec.eviction.critical = random() % 2 == 0;
    spec.eviction.chunk = pick(0, 0, 1, 20);
    spec.channels.keys = pick(0.0, -0.0, 0.4, 1.0 / 3.0, 0.999999, 1e-9);
    spec.channels.values = pick(0.0, 0.3, 1e-300);
    spec.channels.recent = pick(0, 32, 77);
    spec.channels.window = pick(1, 32, 5);
    spec.channels.bias = random() % 2 == 0;
    spec.channels.adaptive = random() % 2 == 0;
    spec.channels.form = random() % 2 == 0 ? KeyForm::Mixed : KeyForm::Paper;
    if (random() % 3 == 0) spec.turbo.keys = spec.turbo.values = pick(16, 8, 3, 1);
    if (random() % 3 == 0) spec.turbo.percent = pick(0.0, 0.1, 12.5, 100.0);
    if (random() % 3 == 0) spec.turbo.bytes = pick(0, 1, 1000, 3 << 20, 1 << 10);
    spec.automatic = random() % 4 == 0;
    spec.quantization.bits = pick(16, 16, 8, 4, 2);
    spec.quantization.group = pick(32, 64, 128);
    spec.quantization.residual = pick(0, 128, 5);
    try {
      spec.validate();
    } catch (const Error&) {
      continue;
    }
    ++valid;
    const std::string text = spec.to_string();
    ASSERT_EQ(error_of([&] { (void)CacheSpec::parse(text); }), "accepted") << text;
    ASSERT_EQ(CacheSpec::parse(text), spec.normalized()) << text;
    ASSERT_EQ(spec.normalized().normalized(), spec.normalized());
    ASSERT_EQ(spec.normalized().to_string(), text);
  }
  EXPECT_GT(valid, 20000U);
}

TEST(CacheSpecProperty, StagesThatDoNothingAreNone) {
  EXPECT_EQ(CacheSpec::parse("think:0."), CacheSpec{});
  EXPECT_EQ(CacheSpec::parse("kivi:16,group=64"), CacheSpec{});
  EXPECT_EQ(CacheSpec::parse("snapkv:64+think:0,bias,form=paper+kivi:16"), CacheSpec::parse("snapkv:64"));
}

}  // namespace
}  // namespace thinkey
