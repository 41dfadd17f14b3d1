#include "tokenizer/pre_tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fixtures.h"

namespace thinkey::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(PreTokenizer, NumbersDistinguishTheModels) {
  EXPECT_THAT(PreTokenizer("gpt-2").split("x 12345"), ElementsAre("x", " 12345"));
  EXPECT_THAT(PreTokenizer("smollm").split("x 123"), ElementsAre("x", " ", "1", "2", "3"));
  EXPECT_THAT(PreTokenizer("llama-bpe").split("x 12345"), ElementsAre("x", " ", "123", "45"));
  EXPECT_THAT(PreTokenizer("default").split("x 12345"), ElementsAre("x", " ", "123", "45"));
}

TEST(PreTokenizer, Contractions) {
  EXPECT_THAT(PreTokenizer("gpt-2").split("it's IT'S"), ElementsAre("it", "'s", " IT", "'", "S"));
  EXPECT_THAT(PreTokenizer("llama-bpe").split("it's IT'S"), ElementsAre("it", "'s", " IT", "'S"));
}

TEST(PreTokenizer, WhitespaceLeavesOneForTheNextWord) {
  EXPECT_THAT(PreTokenizer("gpt-2").split("a   b\n\n c  "), ElementsAre("a", "  ", " b", "\n\n", " c", "  "));
  EXPECT_THAT(PreTokenizer("llama-bpe").split("a  \n b!\n\n"), ElementsAre("a", "  \n", " b", "!\n\n"));
  EXPECT_THAT(PreTokenizer("gpt-2").split("\t\tx"), ElementsAre("\t", "\t", "x"));
}

TEST(PreTokenizer, MongolianVowelSeparatorIsNoSpace) {
  EXPECT_THAT(PreTokenizer("gpt-2").split("\xE1\xA0\x8E!"), ElementsAre("\xE1\xA0\x8E!"));
}

TEST(PreTokenizer, PartsCoverTheText) {
  std::mt19937 random(31);
  for (const char* name : {"gpt-2", "smollm", "llama-bpe", "default", ""}) {
    const PreTokenizer pre(name);
    EXPECT_TRUE(pre.split("").empty());
    for (int i = 0; i < 200; ++i) {
      const std::string text = random_text(random, 60);
      const char* at = text.data();
      for (const std::string_view part : pre.split(text)) {
        ASSERT_FALSE(part.empty());
        ASSERT_EQ(part.data(), at);
        at += part.size();
      }
      ASSERT_EQ(at, text.data() + text.size());
    }
  }
}

TEST(PreTokenizer, UnknownNameIsRefusedWithTheChoices) {
  const Error error = error_of([] { const PreTokenizer pre("nonsense"); });
  EXPECT_EQ(error.kind(), ErrorKind::Data);
  EXPECT_THAT(error.what(), HasSubstr("nonsense"));
  EXPECT_THAT(error.what(), HasSubstr("smollm"));
}

}  // namespace
}  // namespace thinkey::test
