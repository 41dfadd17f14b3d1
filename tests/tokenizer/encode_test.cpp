// What encode() promises beyond the reference ids: options, special tokens, errors, long texts.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ctime>

#include "fixtures.h"

namespace thinkey::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr EncodeOptions kParsed{.add_special = false, .parse_special = true};
constexpr EncodeOptions kPlain{.add_special = false, .parse_special = false};

TEST(Encode, AddsBosAndEosAsTheFileSays) {
  TokenizerData data = tables_of("spm");
  data.add_bos = true;
  data.add_eos = true;
  const auto tokenizer = Tokenizer::create(data);
  EXPECT_TRUE(tokenizer->adds_bos());
  EXPECT_THAT(tokenizer->encode(""), ElementsAre(data.bos, data.eos));
  const Ids ids = tokenizer->encode("ab");
  EXPECT_EQ(ids.front(), data.bos);
  EXPECT_EQ(ids.back(), data.eos);
  EXPECT_THAT(tokenizer->encode("", kPlain), ElementsAre());

  data.add_bos = data.add_eos = false;
  EXPECT_THAT(Tokenizer::create(data)->encode(""), ElementsAre());
}

TEST(Encode, ControlTokensOnlyWhenAskedFor) {
  const auto tokenizer = make("spm");
  const std::int32_t bos = tokenizer->bos();
  EXPECT_THAT(tokenizer->encode("<s>", kParsed), ElementsAre(bos));
  for (const std::int32_t id : tokenizer->encode("<s></s><unk>", kPlain)) {
    EXPECT_FALSE(tokenizer->stands_alone(id));
  }
  EXPECT_EQ(tokenizer->decode(tokenizer->encode("<s></s><unk>", kPlain)), "<s></s><unk>");
}

TEST(Encode, EveryStretchOfASentencePieceTextGetsItsSpace) {
  const auto tokenizer = make("spm");
  const Ids alone = tokenizer->encode("bo", kPlain);
  Ids expected = alone;
  expected.push_back(*tokenizer->find("</s>"));
  expected.insert(expected.end(), alone.begin(), alone.end());
  EXPECT_EQ(tokenizer->encode("bo</s>bo", kParsed), expected);
}

TEST(Encode, TheLongestSpecialTokenWins) {
  const auto tokenizer = make("bpe_gpt-2");
  EXPECT_THAT(tokenizer->encode("<tool></tool><tool>", kPlain),
              ElementsAre(*tokenizer->find("<tool></tool>"), *tokenizer->find("<tool>")));
}

TEST(Encode, UserDefinedPieceWithSpaceMarks) {
  const auto tokenizer = make("spm_plain");
  const auto two_spaces = tokenizer->find("\xE2\x96\x81\xE2\x96\x81");
  ASSERT_TRUE(two_spaces.has_value());
  EXPECT_THAT(tokenizer->encode("  ", kPlain), ElementsAre(*two_spaces));
  EXPECT_EQ(tokenizer->piece(*two_spaces), "  ");
}

TEST(Encode, UnusedPiecesFallApart) {
  TokenizerData data;
  data.tokens = {"<unk>", "a", "b", "c", "ab", "abc"};
  data.types.assign(6, TokenType::Normal);
  data.types[0] = TokenType::Unknown;
  data.scores = {0, -9, -9, -9, -1, -2};
  data.unknown = 0;
  data.fuse_unknown = true;
  EXPECT_THAT(Tokenizer::create(data)->encode("ababc"), ElementsAre(4, 5));
  data.types[4] = TokenType::Unused;  // still a step on the way to "abc"
  EXPECT_THAT(Tokenizer::create(data)->encode("ababc"), ElementsAre(1, 2, 5));
}

TEST(Encode, CharactersWithoutAPiece) {
  TokenizerData data;
  data.tokens = {"<unk>", "a"};
  data.types = {TokenType::Unknown, TokenType::Normal};
  data.scores = {0, 0};
  data.unknown = 0;
  data.fuse_unknown = true;
  EXPECT_THAT(Tokenizer::create(data)->encode("a\xC3\xA9xya"), ElementsAre(1, 0, 1));  // one run, one token

  data.model = TokenizerModel::BytePairs;
  set_pre_tokenizer("gpt-2", data);
  EXPECT_THAT(Tokenizer::create(data)->encode("abc"), ElementsAre(1, 0));
  data.fuse_unknown = false;
  EXPECT_THAT(Tokenizer::create(data)->encode("abc"), ElementsAre(1, 0, 0));
  data.unknown = -1;
  EXPECT_THAT(Tokenizer::create(data)->encode("ab"), ElementsAre(1));
}

TEST(Encode, RefusesIllFormedTextWithItsOffset) {
  const auto tokenizer = make("spm");
  for (const std::string bad : {"\xC0\xAF", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xFF", "\xE2\x82"}) {
    const Error error = error_of([&] { (void)tokenizer->encode("ab\xC3\xA9" + bad + "z"); });
    EXPECT_EQ(error.kind(), ErrorKind::Data);
    EXPECT_THAT(error.what(), HasSubstr("at byte 4"));
  }
}

TEST(Encode, LongRunsTakeNoLongerThanTheyShould) {
  // One pre-token of all these bytes: well under a second each, where a quadratic merge takes minutes.
  constexpr std::size_t kBytes = 300'000;
  for (const char* name : {"spm", "bpe_llama-bpe", "bpe_default"}) {
    const auto tokenizer = make(name);
    for (const char byte : {'a', ' ', '!', '7', '\n'}) {
      const std::clock_t begin = std::clock();
      const std::string text(kBytes, byte);
      EXPECT_EQ(tokenizer->decode(tokenizer->encode(text, kPlain)), text);
      const double seconds = static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
      EXPECT_LT(seconds, 20.0) << name << " '" << byte << "'";
    }
  }
}

TEST(Encode, LongUserDefinedTokensAndPiecesAreNotSearchedForAgainAndAgain) {
  TokenizerData data = tables_of("bpe_gpt-2");
  const std::string long_token(1000, 'a');
  data.tokens.push_back(long_token + "b");
  data.types.push_back(TokenType::UserDefined);
  const std::clock_t begin = std::clock();
  const std::string text(300'000, 'a');
  EXPECT_EQ(Tokenizer::create(data)->decode(Tokenizer::create(data)->encode(text)), text);
  EXPECT_LT(static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC, 20.0);
  data.tokens.back() = std::string(80'000, 'a') + "b";
  EXPECT_THAT(error_of([&] { (void)Tokenizer::create(data); }).what(), HasSubstr("80001 bytes"));
}

TEST(Encode, AnExpressionThatNeverEndsIsAnError) {
  TokenizerData data = tables_of("bpe_gpt-2");
  data.splits = {{.pattern = "(?:a+)+[bc]"}, {.kind = SplitStep::Kind::ByteAlphabet}};
  const auto tokenizer = Tokenizer::create(data);
  EXPECT_EQ(error_of([&] { (void)tokenizer->encode(std::string(60, 'a')); }).kind(), ErrorKind::Data);
}

TEST(Tokenizer, Pieces) {
  const auto tokenizer = make("spm");
  EXPECT_EQ(tokenizer->piece(tokenizer->bos()), "");
  EXPECT_EQ(tokenizer->piece(tokenizer->bos(), true), "<s>");
  EXPECT_EQ(tokenizer->piece(*tokenizer->find("<0xE2>")), "\xE2");
  EXPECT_EQ(tokenizer->piece(*tokenizer->find("\xE2\x96\x81")), " ");
  EXPECT_EQ(error_of([&] { (void)tokenizer->piece(-1); }).kind(), ErrorKind::Usage);
  EXPECT_EQ(error_of([&] { (void)tokenizer->piece(tokenizer->vocabulary()); }).kind(), ErrorKind::Usage);
  EXPECT_FALSE(tokenizer->find("no such piece").has_value());

  const auto byte_level = make("bpe_gpt-2");
  EXPECT_EQ(byte_level->piece(*byte_level->find("\xC4\xA0")), " ");     // U+0120
  EXPECT_EQ(byte_level->piece(*byte_level->find("\xC3\xA9")), "\xE9");  // the byte, not the character
  EXPECT_EQ(byte_level->piece(*byte_level->find("<tool>")), "<tool>");
}

TEST(Tokenizer, EndsGeneration) {
  TokenizerData data = tables_of("spm");
  data.end_of_generation = {5, 7};
  const auto tokenizer = Tokenizer::create(data);
  EXPECT_TRUE(tokenizer->ends_generation(5));
  EXPECT_TRUE(tokenizer->ends_generation(7));
  EXPECT_TRUE(tokenizer->ends_generation(data.eos));
  EXPECT_FALSE(tokenizer->ends_generation(6));
  EXPECT_FALSE(tokenizer->ends_generation(-1));
  EXPECT_FALSE(tokenizer->ends_generation(tokenizer->vocabulary()));
}

}  // namespace
}  // namespace thinkey::test
