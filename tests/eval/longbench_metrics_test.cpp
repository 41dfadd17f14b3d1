// Every metric against the official rules, computed by tools/make_longbench_fixtures.py with the Python
// packages the official script uses.
#include "eval/longbench/longbench_metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "eval/longbench/chinese_segmenter.h"
#include "eval/longbench/unicode_text.h"
#include "eval/support.h"
#include "thinkey/error.h"

namespace thinkey::eval {
namespace {

using Json = nlohmann::json;

const Json& pairs(const std::string& group) {
  static const Json all = Json::parse(std::ifstream(THINKEY_EVAL_DATA "/pairs.json"));
  return all.at(group);
}

const ChineseSegmenter& small_jieba() {
  static const ChineseSegmenter segmenter = ChineseSegmenter::jieba(THINKEY_EVAL_DATA "/jieba");
  return segmenter;
}

using Metric = std::function<double(const std::string& prediction, const std::string& reference)>;

void expect_official(const std::string& group, const std::string& name, const Metric& metric) {
  EXPECT_GE(pairs(group).size(), 300U);
  std::size_t between = 0;  // neither 0 nor 1: such a fixture says something
  for (const Json& pair : pairs(group)) {
    const auto wanted = pair.at(name).get<double>();
    between += wanted > 0 && wanted < 1 ? 1 : 0;
    EXPECT_NEAR(metric(pair.at("prediction"), pair.at("reference")), wanted, 1e-6) << name << pair.dump();
  }
  EXPECT_GE(between, 50U);
}

TEST(LongBenchMetrics, EqualTheOfficialScript) {
  expect_official("english", "qa_f1", qa_f1);
  expect_official("english", "rouge_l", rouge_l);
  expect_official("retrieval", "retrieval", retrieval_score);
  expect_official("retrieval_zh", "retrieval_zh", retrieval_score_zh);
  expect_official("count", "count", count_score);
}

TEST(LongBenchMetrics, CodeSimilarityInBothImplementations) {
  expect_official("code", "code_difflib", [](const auto& prediction, const auto& reference) {
    return code_similarity(prediction, reference);
  });
  expect_official("code", "code_levenshtein", [](const auto& prediction, const auto& reference) {
    return code_similarity(prediction, reference, EditRatio::Levenshtein);
  });
}

TEST(LongBenchMetrics, Classification) {
  EXPECT_GE(pairs("classification").size(), 300U);
  for (const Json& pair : pairs("classification")) {
    const auto classes = pair.at("classes").get<std::vector<std::string>>();
    EXPECT_NEAR(classification_score(pair.at("prediction").get<std::string>(),
                                     pair.at("reference").get<std::string>(), classes),
                pair.at("classification").get<double>(), 1e-6)
        << pair.dump();
  }
}

TEST(LongBenchMetrics, RetrievalNeedsAParagraph) {
  EXPECT_THROW((void)retrieval_score("7", "the seventh"), Error);
  EXPECT_THROW((void)retrieval_score_zh("7", "Paragraph 7"), Error);
}

void expect_words(const std::string& group, const ChineseSegmenter& segmenter) {
  for (const Json& text : pairs(group)) {
    std::vector<std::string> words;
    for (const std::u32string& word : segmenter.cut(decode_text(text.at("text").get<std::string>()))) {
      words.push_back(encode_text(word));
    }
    EXPECT_EQ(words, text.at("words").get<std::vector<std::string>>()) << text.dump();
  }
}

void expect_chinese(const std::string& suffix, const ChineseSegmenter& segmenter) {
  expect_words("words" + suffix, segmenter);
  expect_official("chinese", "qa_f1_zh" + suffix, [&](const auto& prediction, const auto& reference) {
    return qa_f1_zh(prediction, reference, segmenter);
  });
  expect_official("chinese", "rouge_l_zh" + suffix, [&](const auto& prediction, const auto& reference) {
    return rouge_l_zh(prediction, reference, segmenter);
  });
}

// jieba's own code has cut these texts with the same small tables.
TEST(LongBenchMetrics, ChineseWithSmallTables) { expect_chinese("", small_jieba()); }

// And with its own tables, where they are installed.
TEST(LongBenchMetrics, ChineseWithTheInstalledJieba) {
  const char* elsewhere = std::getenv("THINKEY_JIEBA");
  const ChineseSegmenter segmenter =
      elsewhere == nullptr ? ChineseSegmenter::installed() : ChineseSegmenter::jieba(elsewhere);
  if (!segmenter.is_jieba()) GTEST_SKIP() << "python3-jieba is not installed";
  expect_chinese("_installed", segmenter);
}

TEST(ChineseSegmenter, WithoutJiebaByCharacter) {
  const ChineseSegmenter characters;
  EXPECT_EQ(characters.name(), "single characters");
  EXPECT_THAT(characters.cut(U"我们用GPT4。\r\né"),
              testing::ElementsAre(U"我", U"们", U"用", U"GPT4", U"。", U"\r\n", U"é"));
  EXPECT_DOUBLE_EQ(qa_f1_zh("我们。", "我 们", characters), 1.0);
  EXPECT_DOUBLE_EQ(qa_f1_zh("我用", "我们", characters), 0.5);
}

class BadJieba : public ::testing::Test {
 protected:
  BadJieba() {
    std::filesystem::copy(THINKEY_EVAL_DATA "/jieba", directory_, std::filesystem::copy_options::recursive);
  }

  void expect_error(const std::string& name, const std::string& text, const std::string& words) {
    std::ofstream(directory_ / name) << text;
    try {
      (void)ChineseSegmenter::jieba(directory_);
      ADD_FAILURE() << name << " was taken";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::Data);
      EXPECT_THAT(error.what(), testing::HasSubstr(name));
      EXPECT_THAT(error.what(), testing::HasSubstr(words));
    }
  }
  test::Scratch scratch_;
  std::filesystem::path directory_ = scratch_.path();
};

TEST_F(BadJieba, Dictionary) {
  expect_error("dict.txt", "a 1\nb\n", "line 2");
  expect_error("dict.txt", "a 1 n\nb x n\n", "line 2");
  expect_error("dict.txt", "a -1 n\n", "line 1");
  expect_error("dict.txt", "a 0 n\n", "no words");
}
TEST_F(BadJieba, Start) { expect_error("finalseg/prob_start.py", "P = {'B': -1}", "no entry E"); }
TEST_F(BadJieba, Transitions) { expect_error("finalseg/prob_trans.py", "P = 3", "JSON"); }
TEST_F(BadJieba, Emission) {
  expect_error("finalseg/prob_emit.py", "P = {'B': {'ab': -1}, 'E': {}, 'M': {}, 'S': {}}", "one character");
}
TEST_F(BadJieba, NoDirectory) { EXPECT_THROW((void)ChineseSegmenter::jieba("/nowhere"), Error); }

TEST(UnicodeText, LowerIsPythons) {
  EXPECT_EQ(lower(U"ÀÉ ǅ Ⅷ"), U"àé ǆ ⅷ");
  EXPECT_EQ(lower(U"İ"), U"i\u0307");
  EXPECT_EQ(lower(U"ΟΔΟΣ ΟΔΟΣ. ΣΑ Σ"), U"οδος οδος. σα σ");
  EXPECT_EQ(lower(U"ΑΣ.Α"), U"ασ.α");
}

TEST(UnicodeText, IllFormedBytesBecomeReplacements) {
  EXPECT_EQ(decode_text("a\xFF"
                        "b\xE4\xB8"),
            U"a\uFFFDb\uFFFD");
  EXPECT_EQ(encode_text(decode_text("é中😀")), "é中😀");
}

}  // namespace
}  // namespace thinkey::eval
