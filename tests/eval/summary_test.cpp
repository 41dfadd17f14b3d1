#include "eval/report/summary.h"

#include <gmock/gmock.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "support.h"

namespace thinkey::eval::test {
namespace {

using ::testing::ElementsAre;

std::vector<Record> records() {
  std::vector<Record> out;
  const auto add = [&](const char* cache, const char* length, const char* depth, double score, double bytes) {
    out.push_back({std::to_string(out.size()),
                   cache,
                   {{"length", length}, {"depth", depth}},
                   {{"score", score},
                    {"cache_bytes", bytes},
                    {"full_bytes", 200},
                    {"decode_seconds", 0.004},
                    {"answer_tokens", 2}},
                   ""});
  };
  add("full", "1k", "0", 1, 200);
  add("thin", "1k", "0", 0, 50);
  add("full", "1k", "50", 1, 200);
  add("thin", "1k", "50", 1, 50);
  add("full", "2k", "0", 0.5, 200);
  add("thin", "2k", "0", 0.25, 100);
  return out;
}

TEST(Summary, Means) {
  const auto all = records();
  EXPECT_THAT(cache_names(all), ElementsAre("full", "thin"));
  EXPECT_THAT(label_values(all, "length"), ElementsAre("1k", "2k"));
  const Mean mean = mean_of(all, {"thin", {{"length", "1k"}}}, "score");
  EXPECT_EQ(mean.value, 0.5);
  EXPECT_EQ(mean.count, 2U);
  EXPECT_NEAR(mean.error, std::sqrt(0.25), 1e-12);  // sqrt(variance / (n - 1))
  EXPECT_TRUE(std::isnan(mean_of(all, {"other", {}}, "score").value));
  EXPECT_EQ(sum_of(all, {"thin", {}}, "cache_bytes"), 200.0);
}

TEST(Summary, Tables) {
  const TableBlock table = cache_table(records(), "score");
  ASSERT_EQ(table.rows.size(), 3U);
  EXPECT_EQ(table.rows[2][0].text, "thin");
  EXPECT_EQ(table.rows[2][1].text, "41.7 %");
  EXPECT_EQ(table.rows[2][5].text, "33.3 %");
  EXPECT_EQ(table.rows[2][6].text, "2.00");
  const TableBlock scores = score_table(records(), "length", "by length");
  EXPECT_EQ(scores.rows[0][2].text, "2k");
  EXPECT_EQ(scores.rows[2][1].text, "50.0 %");
  EXPECT_EQ(scores.rows[2][3].text, "37.5 %");  // mean of the columns
}

// Wilson's interval: of 8 in 15, 30 to 75 %; of none or all, not a point.
TEST(Summary, IntervalsOfShares) {
  const auto interval = [](double share, std::size_t n) {
    return share_interval({.value = share, .count = n, .error = 0.0});
  };
  EXPECT_NEAR(interval(8.0 / 15.0, 15).first, 0.301, 0.002);
  EXPECT_NEAR(interval(8.0 / 15.0, 15).second, 0.752, 0.002);
  EXPECT_EQ(interval(0.0, 15).first, 0.0);
  EXPECT_NEAR(interval(0.0, 15).second, 0.204, 0.002);
  EXPECT_NEAR(interval(1.0, 15).first, 0.796, 0.002);
  EXPECT_EQ(interval(0.0, 0), std::pair(0.0, 1.0));
}

TEST(Summary, HeatMapLeavesGapsEmpty) {
  const HeatMap map = score_heat_map(records(), "depth", "length", "t");
  EXPECT_THAT(map.rows, ElementsAre("0", "50"));
  ASSERT_EQ(map.panels.size(), 2U);
  EXPECT_EQ(map.panels[1].values[0], 0.0);
  EXPECT_EQ(map.panels[1].values[1], 0.25);
  EXPECT_TRUE(std::isnan(map.panels[1].values[3]));
}

TEST(Summary, Families) {
  EXPECT_EQ(family_of("snapkv:10%,kernel=7+think:0.4,form=paper"), "snapkv+think:0.4,form=paper");
  EXPECT_EQ(family_of("full"), "full");
  EXPECT_EQ(family_of("streaming:64"), "streaming");
}

TEST(Summary, Json) {
  RunOutcome outcome;
  outcome.records = records();
  outcome.skipped = {{"x", "too long"}};
  const auto json = nlohmann::json::parse(summary_json({"needle", "m", "ff", R"({"seed":1})"}, outcome));
  EXPECT_EQ(json["settings"]["seed"], 1);
  EXPECT_EQ(json["caches"][1]["cache"], "thin");
  EXPECT_DOUBLE_EQ(json["caches"][1]["share_of_full"], 1.0 / 3.0);
  EXPECT_EQ(json["caches"][1]["groups"].size(), 3U);
  EXPECT_EQ(json["caches"][1]["groups"][2]["length"], "2k");
  EXPECT_EQ(json["caches"][1]["groups"][2]["score"], 0.25);
  EXPECT_EQ(json["skipped"][0]["reason"], "too long");
}

}  // namespace
}  // namespace thinkey::eval::test
