#include "cli/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/output.h"
#include "cli/progress.h"

namespace thinkey::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(Report, BytesHaveThreeDigits) {
  EXPECT_EQ(format_bytes(0), "0 B");
  EXPECT_EQ(format_bytes(1023), "1023 B");
  EXPECT_EQ(format_bytes(1024), "1.00 KiB");
  EXPECT_EQ(format_bytes(10230), "9.99 KiB");
  EXPECT_EQ(format_bytes(10240), "10.0 KiB");
  EXPECT_EQ(format_bytes(102400), "100 KiB");
  EXPECT_EQ(format_bytes(1024 * 1024 - 1), "1.00 MiB");  // not 1024 KiB
  EXPECT_EQ(format_bytes(std::size_t{4} << 30U), "4.00 GiB");
}

TEST(Report, Counts) {
  EXPECT_EQ(format_count(2048.0), "2048");
  EXPECT_EQ(format_count(2047.5), "2047.5");
}

TEST(Report, TableAlignsColumns) {
  EXPECT_EQ(format_table({{"a", "bb"}, {"ccc", "d"}}, 1), " a    bb\n ccc   d\n");
}

CacheReport sample() {
  return {.spec = "snapkv:64+think:0.5,form=paper",
          .tokens_seen = 100,
          .head_dim = 16,
          .layers = {{64.0, 8.0, 16.0, 2048, 6400},
                     {64.0, 8.0, 16.0, 2048, 6400},
                     {100.0, 16.0, 16.0, 6400, 6400}},
          .bytes = 10496,
          .full_bytes = 19200};
}

TEST(Report, EqualLayersShareARow) {
  const std::string text = format_cache_report(sample());
  EXPECT_THAT(text, HasSubstr("snapkv:64+think:0.5,form=paper: 10.2 KiB of 18.8 KiB in full f16 (54.7 %)"));
  EXPECT_THAT(text, ::testing::ContainsRegex("0-1 +64 of 100 +8 of 16 +16 of 16 +2.00 KiB +32.0 %"));
  EXPECT_THAT(text, ::testing::ContainsRegex("2 +100 of 100 +16 of 16 +16 of 16 +6.25 KiB +100.0 %"));
}

TEST(Report, LayersOfAKindShareARow) {
  CacheReport report = sample();
  report.layers.assign(13, {100.0, 16.0, 16.0, 6400, 6400});
  for (const std::size_t l : {0U, 1U, 2U, 4U, 5U, 7U, 9U, 11U}) {
    report.layers[l] = {40.0, 16.0, 16.0, 2560, 2560, 40};
  }
  const std::string text = format_cache_report(report);
  EXPECT_THAT(text, HasSubstr("window"));
  EXPECT_THAT(text, ::testing::ContainsRegex("0-2, 4-5, ... 11 .8 layers. +40 +40 of 40 +16 of 16"));
  EXPECT_THAT(text, ::testing::ContainsRegex("3, 6, ... 12 .5 layers. +all +100 of 100 +16 of 16"));
}

TEST(Report, EmptyCache) { EXPECT_THAT(format_cache_report({}), HasSubstr("0 B of 0 B")); }

TEST(Report, Json) {
  const OrderedJson json = to_json(sample());
  EXPECT_EQ(json["bytes"], 10496);
  EXPECT_EQ(json["layers"].size(), 3);
  EXPECT_EQ(json["layers"][2]["tokens_kept"], 100.0);
  EXPECT_EQ(OrderedJson::parse(dump(json)), json);
}

TEST(Report, Rates) {
  EXPECT_EQ(format_rate(100, 2.0), "100 tokens in 2.00 s, 50.0 tokens/s");
  EXPECT_EQ(format_rate(0, 0.0), "0 tokens");
  EXPECT_EQ(rate_json(100, 0.0)["tokens_per_second"], 0.0);
}

TEST(Progress, Line) {
  const std::string line = progress_line(0.25, 10.0, 4000);
  EXPECT_THAT(line, HasSubstr(" 25%"));
  EXPECT_THAT(line, HasSubstr("100 tokens/s"));
  EXPECT_THAT(line, HasSubstr("0:30 left"));
  EXPECT_THAT(progress_line(0.0, 0.0, 4000), Not(HasSubstr("tokens/s")));
  EXPECT_EQ(progress_line(2.0, 1.0, 4000).find("."), std::string::npos);  // never beyond the end
}

TEST(Output, OneLine) { EXPECT_EQ(one_line("a\nb\tc\x1b[0m\xc3\xa9"), "a b c [0m\xc3\xa9"); }

}  // namespace
}  // namespace thinkey::cli
