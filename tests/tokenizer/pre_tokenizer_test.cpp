#include "tokenizer/pre_tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fixtures.h"
#include "tokenizer/regex_syntax.h"
#include "tokenizer/word_scanner.h"

namespace thinkey::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<std::string> split(const std::vector<SplitStep>& steps, const std::string& text,
                               const PreTokenizer::Options& options = {}) {
  PreTokenizer::Words words;
  PreTokenizer(steps, options).split(text, true, words);
  return {words.words.begin(), words.words.end()};
}

std::vector<std::string> split(const std::string& name, const std::string& text) {
  TokenizerData data;
  set_pre_tokenizer(name, data);
  return split(data.splits, text);
}

TEST(PreTokenizer, NumbersDistinguishTheModels) {
  EXPECT_THAT(split("gpt-2", "x 12345"), ElementsAre("x", " 12345"));
  EXPECT_THAT(split("smollm", "x 123"), ElementsAre("x", " ", "1", "2", "3"));
  EXPECT_THAT(split("llama-bpe", "x 12345"), ElementsAre("x", " ", "123", "45"));
  EXPECT_THAT(split("qwen2", "x 123"), ElementsAre("x", " ", "1", "2", "3"));
  EXPECT_THAT(split("default", "x 12345"), ElementsAre("x", " ", "123", "45"));
}

TEST(PreTokenizer, Contractions) {
  EXPECT_THAT(split("gpt-2", "it's IT'S"), ElementsAre("it", "'s", " IT", "'", "S"));
  EXPECT_THAT(split("llama-bpe", "it's IT'S"), ElementsAre("it", "'s", " IT", "'S"));
  EXPECT_THAT(split("gpt-4o", "it's HTMLPage"), ElementsAre("it's", " HTMLPage"));
  EXPECT_THAT(split("tekken", "it's aPage"), ElementsAre("it", "'s", " a", "Page"));
}

TEST(PreTokenizer, WhitespaceLeavesOneForTheNextWord) {
  EXPECT_THAT(split("gpt-2", "a   b\n\n c  "), ElementsAre("a", "  ", " b", "\n\n", " c", "  "));
  EXPECT_THAT(split("llama-bpe", "a  \n b!\n\n"), ElementsAre("a", "  \n", " b", "!\n\n"));
  EXPECT_THAT(split("gpt-2", "\t\tx"), ElementsAre("\t", "\t", "x"));
}

TEST(PreTokenizer, MongolianVowelSeparatorIsNoSpace) {
  EXPECT_THAT(split("gpt-2", "\xE1\xA0\x8E!"), ElementsAre("\xE1\xA0\x8E!"));
}

TEST(PreTokenizer, EveryNameOfTheTableCoversTheText) {
  std::mt19937 random(31);
  for (const char* name :
       {"",          "default",      "gpt-2",          "phi-2",       "mpt",        "olmo",
        "starcoder", "refact",       "smollm",         "command-r",   "llama-bpe",  "dbrx",
        "glm4",      "stablelm2",    "qwen2",          "qwen35",      "gpt-4o",     "tekken",
        "falcon",    "deepseek-llm", "deepseek-coder", "deepseek-v3", "spark2_5",   "youtu",
        "bloom",     "viking",       "superbpe",       "tiny_aya",    "bailingmoe", "seed-coder",
        "ufakzeka",  "laguna",       "exaone-moe",     "minicpm5",    "jais-2"}) {
    for (int i = 0; i < 60; ++i) {
      const std::string text = random_text(random, 60);
      std::string whole;
      for (const std::string& part : split(name, text)) {
        ASSERT_FALSE(part.empty());
        whole += part;
      }
      ASSERT_EQ(whole, text) << name;
    }
  }
}

TEST(PreTokenizer, UnknownNameIsRefusedWithTheChoices) {
  TokenizerData data;
  const Error error = error_of([&] { set_pre_tokenizer("nonsense", data); });
  EXPECT_EQ(error.kind(), ErrorKind::Data);
  EXPECT_THAT(error.what(), HasSubstr("nonsense"));
  EXPECT_THAT(error.what(), HasSubstr("smollm"));
}

// Characters that the expressions treat differently, in any order.
std::string random_words(std::mt19937& random) {
  constexpr std::string_view kParts[] = {
      "a",  "B",      "s",      "t",      "re",     "LL",     "'",          "'s",
      "'S", "\u017F", "1",      "23",     "\u00BD", "\u0663", " ",          "  ",
      "\t", "\n",     "\r",     "\u00A0", "\u2028", "\u0085", "!",          "_",
      "-",  "\u00E9", "\u4E16", "\u0301", "\u093E", "\u200D", "\U0001F642", "\u180E"};
  std::string text;
  for (int i = std::uniform_int_distribution<int>(0, 14)(random); i > 0; --i) {
    text += kParts[random() % std::size(kParts)];
  }
  return text;
}

TEST(WordScanner, EqualsItsExpression) {
  for (const std::string_view expression :
       {kGpt2Words, kLlama3Words, kQwen2Words, kQwen35Words, kEveryNumber, kNumbers, kSpacesAtEnd}) {
    ASSERT_TRUE(WordScanner::for_expression(expression).has_value());
    const std::vector<SplitStep> steps{{.pattern = std::string(expression)}};
    const PreTokenizer by_hand(steps);
    const PreTokenizer by_pcre(steps, {.scanners = false});
    PreTokenizer::Words ours;
    PreTokenizer::Words theirs;
    std::mt19937 random(5);
    for (int i = 0; i < 20'000; ++i) {
      const std::string text = random_words(random);
      by_hand.split(text, true, ours);
      by_pcre.split(text, true, theirs);
      ASSERT_EQ(ours.words, theirs.words) << nlohmann::json(text).dump() << "\n" << expression;
    }
  }
}

TEST(SetScanner, EqualsPcre) {
  std::mt19937 random(6);
  const auto check = [&random](const std::vector<SplitStep>& steps, const std::string& what) {
    const PreTokenizer by_hand(steps);
    const PreTokenizer by_pcre(steps, {.scanners = false});
    PreTokenizer::Words ours;
    PreTokenizer::Words theirs;
    for (int i = 0; i < 5'000; ++i) {
      const std::string text = random_words(random);
      by_hand.split(text, true, ours);
      by_pcre.split(text, true, theirs);
      ASSERT_EQ(ours.words, theirs.words) << nlohmann::json(text).dump() << "\n" << what;
    }
  };
  for (const char* expression :
       {R"([\r\n])", R"([\r\n]+)", R"([a-s!_-])", R"(\s?[A-Za-z\x{e9}\x{4e00}-\x{9fa5}\x{17f}]+)",
        R"(\s?[\n1-3])", R"(\s?[!-/:-~\x{3000}-\x{3002}\x{2018}-\x{201f}\x{a0}]+)", R"([\x{0}-\x{10ffff}])",
        R"([\x{4e00}-\x{9fa5}\x{800}-\x{4e00}\x{ac00}-\x{d7ff}]+)"}) {
    ASSERT_TRUE(SetScanner::for_expression(expression).has_value()) << expression;
    check({{.pattern = expression}}, expression);
  }
  for (const char* name : {"deepseek-llm", "deepseek-coder", "deepseek-v3", "youtu"}) {
    TokenizerData data;
    set_pre_tokenizer(name, data);
    check(data.splits, name);
  }
}

TEST(SetScanner, LeavesOtherExpressionsAlone) {
  for (const char* expression :
       {"",          "a",           "[",     "[]",      "[]+",      "[^a]",  "[a&&b]",    "[a[b]]",
        R"([\d])",   R"([\p{L}]+)", "[a]*",  "[a]|[b]", R"(\s[a])", "[b-a]", R"([\x{}])", R"([\x{110000}])",
        R"([a-\d])", "[\u00E9]",    "[a]b+", R"([\t])"}) {
    EXPECT_FALSE(SetScanner::for_expression(expression).has_value()) << expression;
  }
}

TEST(RegexSyntax, NamesWhatItDoesNotTranslate) {
  for (const char* expression :
       {R"(\X)",  R"(\R)", R"(\K)", R"(\G)",   R"((a)\1)", R"(\k<x>)", R"(\g<x>)",         "(?<x>a)",
        "(?m:a)", "(?#a)", "(?~a)", "(*FAIL)", "[a[bc]]",  "[a&&b]",   "[^a&&[b]]",        "[",
        "[a",     "[]",    "a{,3}", "a{2}+",   R"(\pL)",   R"(\u00)",  R"(\x{110000000})", "[[:graph:]]",
        "\\"}) {
    EXPECT_THAT(error_of([&] { (void)to_pcre2(expression); }).what(), HasSubstr("not supported"))
        << expression;
  }
  EXPECT_THAT(error_of([] { const Regex bad("(a"); }).what(), HasSubstr("not valid"));
}

}  // namespace
}  // namespace thinkey::test
