#include "eval/run/result_file.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>

#include "support.h"

namespace thinkey::eval::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

const RunIdentity kIdentity{"needle", "tiny", "00ff", R"({"seed":1,"chat":true})"};

Record record(const std::string& sample, const std::string& cache, double score = 0.5) {
  return {sample, cache, {{"length", "64"}}, {{"score", score}}, "an \"answer\"\nof two lines"};
}

std::string error_opening(const std::filesystem::path& path, const RunIdentity& identity = kIdentity) {
  return error_of([&] { ResultFile(path, identity, false, {}); });
}

TEST(ResultFile, KeepsWhatWasAppended) {
  const Scratch scratch;
  const auto path = scratch / "sub/results.jsonl";
  {
    ResultFile file(path, kIdentity, false, {});
    file.append(record("a", "full", 1.0 / 3.0));
    file.append(record("a", "think:0.4,form=paper", std::nan("")));
    EXPECT_EQ(std::ranges::count(read_all(path), '\n'), 3) << "each line is there at once";
  }
  const ResultFile file(path, kIdentity, false, {});
  ASSERT_EQ(file.records().size(), 2U);
  EXPECT_EQ(file.records()[0].value("score"), 1.0 / 3.0);
  EXPECT_TRUE(std::isnan(file.records()[1].value("score")));
  EXPECT_EQ(file.records()[0].label("length"), "64");
  EXPECT_EQ(file.records()[0].prediction, "an \"answer\"\nof two lines");
  EXPECT_TRUE(file.has("a", "full"));
  EXPECT_FALSE(file.has("b", "full"));
}

// Wherever an interruption cuts the file, whole lines stay and the torn one is reported and done again.
TEST(ResultFile, IsReadAgainFromEveryCut) {
  const Scratch scratch;
  const auto path = scratch / "whole";
  {
    ResultFile file(path, kIdentity, false, {});
    file.append(record("a", "full"));
    file.append(record("b", "full"));
  }
  const std::string whole = read_all(path);
  for (std::size_t cut = 0; cut <= whole.size(); ++cut) {
    const auto torn = scratch.write("torn", whole.substr(0, cut));
    const auto lines = static_cast<std::size_t>(std::count(whole.begin(), whole.begin() + cut, '\n'));
    const bool is_torn = cut > 0 && whole[cut - 1] != '\n';
    std::vector<std::string> warnings;
    {
      ResultFile file(torn, kIdentity, false, {.warn = [&](const std::string& w) { warnings.push_back(w); }});
      EXPECT_EQ(file.records().size(), lines == 0 ? 0 : lines - 1) << cut;
      if (!file.has("a", "full")) file.append(record("a", "full"));
      if (!file.has("b", "full")) file.append(record("b", "full"));
    }
    ASSERT_EQ(warnings.size(), is_torn ? 1U : 0U) << cut;
    if (is_torn) {
      EXPECT_THAT(warnings[0], HasSubstr("torn: line " + std::to_string(lines + 1) + ": incomplete"));
    }
    EXPECT_EQ(read_all(torn), whole) << cut;
  }
}

TEST(ResultFile, RefusesAnotherRunAndSaysWhatDiffers) {
  const Scratch scratch;
  const auto path = scratch / "results";
  { ResultFile file(path, kIdentity, false, {}); }
  RunIdentity other = kIdentity;
  other.settings = R"({"seed":2,"chat":true})";
  EXPECT_THAT(error_opening(path, other),
              HasSubstr("results: line 1: results of another run: \"seed\" was 1, is 2"));
  other = kIdentity;
  other.weights = "0100";
  EXPECT_THAT(error_opening(path, other), HasSubstr("\"model\" differs"));
  other = kIdentity;
  other.task = "ruler";
  EXPECT_THAT(error_opening(path, other), HasSubstr("\"task\" differs"));
  EXPECT_EQ(error_opening(path), "");
}

TEST(ResultFile, NamesTheLineThatIsWrong) {
  const Scratch scratch;
  const auto path = scratch / "results";
  {
    ResultFile file(path, kIdentity, false, {});
    file.append(record("a", "full"));
  }
  const std::string good = read_all(path);
  scratch.write("results", good + "nonsense\n" + good.substr(good.find('\n') + 1));
  EXPECT_THAT(error_opening(path), HasSubstr("line 3: not a result record"));
  scratch.write("results", good + good.substr(good.find('\n') + 1));
  EXPECT_THAT(error_opening(path), HasSubstr("line 3: sample \"a\" under \"full\" occurs a second time"));
  scratch.write("results", "{\"a\": 1}\n");
  EXPECT_THAT(error_opening(path), HasSubstr("line 1: not a result file"));
}

TEST(ResultFile, FreshStartsOverButDestroysNothingForeign) {
  const Scratch scratch;
  const auto path = scratch / "results";
  {
    ResultFile file(path, kIdentity, false, {});
    file.append(record("a", "full"));
  }
  {
    const ResultFile file(path, kIdentity, true, {});
    EXPECT_TRUE(file.records().empty());
  }
  EXPECT_EQ(std::ranges::count(read_all(path), '\n'), 1);
  const auto thesis = scratch.write("thesis.txt", "Chapter 1\n");
  EXPECT_THAT(error_of([&] { ResultFile(thesis, kIdentity, true, {}); }), HasSubstr("would destroy it"));
  EXPECT_EQ(read_all(thesis), "Chapter 1\n");
}

TEST(ResultFile, OneRunAtATime) {
  const Scratch scratch;
  const ResultFile file(scratch / "results", kIdentity, false, {});
  EXPECT_THAT(error_opening(scratch / "results"), HasSubstr("another run is writing"));
}

TEST(ResultFile, SaysWhyItCannotBeOpened) {
  const Scratch scratch;
  EXPECT_THAT(error_opening(scratch.path()), HasSubstr(scratch.path().string()));
  EXPECT_THAT(error_opening("/dev/null"), HasSubstr("not a regular file"));
  const auto file = scratch.write("file", "");
  EXPECT_THAT(error_opening(file / "below"), HasSubstr("cannot open the result file"));
}

TEST(ResultFile, DefaultNameTellsRunsApart) {
  RunIdentity other = kIdentity;
  other.settings = R"({"seed":2,"chat":true})";
  EXPECT_NE(default_result_path("d", kIdentity), default_result_path("d", other));
  EXPECT_EQ(default_result_path("d", kIdentity), default_result_path("d", kIdentity));
  other.model = "a/b c";
  EXPECT_THAT(default_result_path("d", other).string(), ::testing::StartsWith("d/needle-a-b-c-"));
}

// A stranger's file: as deep and as long as it may be, it is refused in one short line.
TEST(ResultFile, RefusesWhatNestsOrHasManyKeys) {
  const Scratch scratch;
  const std::string deep = "{\"thinkey_results\":2,\"task\":\"needle\",\"settings\":{\"a\":";
  const auto path =
      scratch.write("deep", deep + std::string(100000, '[') + std::string(100000, ']') + "}}\n");
  EXPECT_THAT(error_opening(path), AllOf(HasSubstr("line 1"), HasSubstr("64 deep")));
  std::string keys = "{\"k\":0";
  for (int i = 0; i < 80000; ++i) keys += ",\"k" + std::to_string(i) + "\":0";
  EXPECT_THAT(error_opening(scratch.write("keys", keys + "}\n")), HasSubstr("more than 4096 keys"));
  // Settings that differ are shown, but not whole.
  RunIdentity other = kIdentity;
  other.settings = "{\"seed\":\"" + std::string(50000, 'x') + "\"}";
  const auto results = scratch / "long";
  { const ResultFile file(results, other, false, {}); }
  other.settings = "{\"seed\":2}";
  EXPECT_LT(error_opening(results, other).size(), 1000U);
}

}  // namespace
}  // namespace thinkey::eval::test
