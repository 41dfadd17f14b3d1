#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "cli/process.h"

namespace thinkey::test {
namespace {

using ::testing::HasSubstr;

TEST(Inspect, ShowsModelAndCacheCosts) {
  const Outcome outcome = run_thinkey({"inspect", tiny_model()});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("2, width 32, feed-forward 48"));
  EXPECT_THAT(outcome.out, HasSubstr("4 query heads over 4 KV heads, head dimension 8"));
  EXPECT_THAT(outcome.out, HasSubstr("KV cache at 256 tokens"));
  EXPECT_THAT(outcome.out, HasSubstr("F16"));
  EXPECT_THAT(outcome.out, HasSubstr("general.architecture = llama"));
  for (const char* spec : {"full", "think:", "snapkv:"}) {
    EXPECT_THAT(outcome.out, HasSubstr(std::string("\n  ") + spec));
  }
}

TEST(Inspect, Json) {
  const Outcome outcome = run_thinkey({"inspect", "-m", tiny_model(), "--json", "-c", "4096", "--cache",
                                       "full", "--cache", "snapkv:1024+think:0.5,form=paper"});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  const auto json = nlohmann::json::parse(outcome.out);
  EXPECT_EQ(json["layers"], 2);
  EXPECT_EQ(json["kv_heads"], 4);
  EXPECT_EQ(json["head_dim"], 8);
  EXPECT_EQ(json["context_length"], 256);
  EXPECT_EQ(json["cache_context"], 4096);
  ASSERT_EQ(json["caches"].size(), 2);
  const auto& full = json["caches"][0];
  const std::size_t full_bytes = 2U * 2U * 2U * 4U * 8U * 4096U;  // K and V, f16, layers, heads, D, T
  EXPECT_EQ(full["full_bytes"], full_bytes);
  EXPECT_GE(full["bytes"].get<std::size_t>(), full_bytes);
  EXPECT_EQ(full["layers"].size(), 2);
  const auto& thin = json["caches"][1];
  EXPECT_EQ(thin["layers"][0]["tokens_kept"], 1024);
  EXPECT_EQ(thin["layers"][0]["channels_kept"], 4);
  // A quarter of the tokens, three quarters of their channels, and what a token costs beside 8 channels.
  EXPECT_LT(thin["bytes"].get<std::size_t>(), full_bytes * 3 / 10);
  EXPECT_GT(thin["prefill_memory"]["total"].get<std::size_t>(), 0);
}

TEST(Inspect, HuggingFaceDirectory) {
  const Outcome outcome = run_thinkey({"inspect", fixture("model/mistral_v01")});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("mistral"));
  EXPECT_THAT(outcome.out, HasSubstr("sliding window 24"));
}

TEST(Inspect, TruncatedModel) {
  const TemporaryDirectory directory;
  const std::string whole = read_bytes(tiny_model());
  for (const std::size_t share : {1, 2, 5, 9}) {
    expect_failure(
        run_thinkey({"inspect", directory.write("cut.gguf", whole.substr(0, whole.size() * share / 10))}), 1,
        {"cut.gguf"});
  }
}

TEST(Inspect, BadInput) {
  expect_failure(run_thinkey({"inspect"}), 2, {"--model"});
  expect_failure(run_thinkey({"inspect", tiny_model(), "-c", "-5"}), 2, {"-c"});
  expect_failure(run_thinkey({"inspect", tiny_model(), "--cache", "think:1.5,form=paper"}), 2, {"1.5"});
}

}  // namespace
}  // namespace thinkey::test
