#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "cli/process.h"

namespace thinkey::test {
namespace {

using ::testing::HasSubstr;

nlohmann::json bench(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), {"bench", "-m", tiny_model(), "-n", "2", "-t", "1", "--json"});
  const Outcome outcome = run_thinkey(arguments);
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  return nlohmann::json::parse(outcome.out, nullptr, false);
}

TEST(Bench, EveryLengthSpecAndBatchHasItsRow) {
  const auto json = bench({"-p", "0,70", "-b", "1,3", "--cache", "full", "--cache", "snapkv:40,window=8"});
  ASSERT_TRUE(json.is_object());
  EXPECT_GT(json["limits"]["read_bytes_per_second"], 0.0);
  EXPECT_GT(json["limits"]["products_per_second"], 0.0);
  ASSERT_EQ(json["prefill"].size(), 2);  // 70 tokens; nothing to prefill for 0
  ASSERT_EQ(json["decode"].size(), 8);
  EXPECT_EQ(json["prefill"][0]["name"], "prefill 70 full");
  for (const auto& row : json["prefill"]) {
    EXPECT_GT(row["tokens_per_second"], 0.0);
    EXPECT_GT(row["share_of_limit"], 0.0);
    // 24 bits, or 32 where the CPU has no bf16.
    EXPECT_THAT(row["hidden_bytes"].get<int>(), ::testing::AnyOf(70 * 32 * 3, 70 * 32 * 4));
  }
  EXPECT_LT(json["prefill"][1]["cache_bytes"], json["prefill"][0]["cache_bytes"]);
  EXPECT_EQ(json["decode"][0]["depth"], 0);
  EXPECT_EQ(json["decode"][1]["batch"], 3);
  for (const auto& row : json["decode"]) {
    EXPECT_GT(row["tokens_per_second"], 0.0);
    EXPECT_GT(row["read_bytes_per_second"], 0.0);
    // A step reads every weight once, and every sequence's cache.
    EXPECT_EQ(row["bytes_per_step"].get<std::size_t>(),
              json["model"]["decode_bytes"].get<std::size_t>() +
                  row["batch"].get<std::size_t>() * row["cache_bytes"].get<std::size_t>());
  }
}

TEST(Bench, TogetherSharesOnePrefill) {
  const auto json = bench({"-p", "70", "--together", "--cache", "full", "--cache", "snapkv:40,window=8"});
  ASSERT_TRUE(json.is_object());
  EXPECT_EQ(json["prefill"][0]["seconds"], json["prefill"][1]["seconds"]);
}

TEST(Bench, ComparesWithABaseline) {
  const TemporaryDirectory directory;
  const std::string path = directory.write("baseline.json", bench({"-p", "20"}).dump());
  const Outcome same =
      run_thinkey({"bench", "-m", tiny_model(), "-p", "20", "-n", "2", "-t", "1", "--baseline", path});
  EXPECT_EQ(same.status, 0) << same.err;
  EXPECT_THAT(same.out, HasSubstr("baseline"));
  EXPECT_THAT(same.out, ::testing::ContainsRegex("[0-9]x"));

  const std::string damaged = directory.write("damaged.json", R"({"prefill": [{"name": 3}], "decode": []})");
  const Outcome broken = run_thinkey({"bench", "-m", tiny_model(), "--baseline", damaged});
  EXPECT_EQ(broken.status, 1);
  EXPECT_THAT(broken.err, HasSubstr("lacks its name"));
}

TEST(Bench, RefusesNonsense) {
  EXPECT_EQ(run_thinkey({"bench", "-m", tiny_model(), "-p", "-4"}).status, 2);
  EXPECT_EQ(run_thinkey({"bench", "-m", tiny_model(), "-b", "0"}).status, 2);
  EXPECT_EQ(run_thinkey({"bench", "-m", tiny_model(), "--cache", "snapkv:x"}).status, 2);
}

}  // namespace
}  // namespace thinkey::test
