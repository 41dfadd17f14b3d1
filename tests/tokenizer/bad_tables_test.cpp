// Tables of a hostile or broken file are refused with a message, or work as documented.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>

#include "fixtures.h"

namespace thinkey::test {
namespace {

using testing::HasSubstr;

using Damage = std::function<void(TokenizerData&)>;

std::string refusal(TokenizerData data, const Damage& damage) {
  damage(data);
  const Error error = error_of([&] { (void)Tokenizer::create(data); });
  EXPECT_EQ(error.kind(), ErrorKind::Data);
  return error.what();
}

TEST(BadTables, OfBothFamilies) {
  for (const char* name : {"spm", "bpe_gpt-2"}) {
    const TokenizerData good = tables_of(name);
    EXPECT_NO_THROW((void)Tokenizer::create(good));
    EXPECT_THAT(refusal(good, [](auto& d) { d.tokens.clear(); }), HasSubstr("empty"));
    EXPECT_THAT(refusal(good, [](auto& d) { d.types.pop_back(); }), HasSubstr("types"));
    EXPECT_THAT(refusal(good, [](auto& d) { d.types.clear(); }), HasSubstr("types"));
    EXPECT_THAT(refusal(good, [](auto& d) { d.types[3] = static_cast<TokenType>(0); }), HasSubstr("token 3"));
    EXPECT_THAT(refusal(good, [](auto& d) { d.types[3] = static_cast<TokenType>(7); }), HasSubstr("token 3"));
    EXPECT_THAT(refusal(good, [](auto& d) { d.bos = static_cast<int>(d.tokens.size()); }), HasSubstr("BOS"));
    EXPECT_THAT(refusal(good, [](auto& d) { d.bos = -2; }), HasSubstr("BOS"));
    EXPECT_THAT(refusal(good, [](auto& d) { d.eos = std::numeric_limits<std::int32_t>::max(); }),
                HasSubstr("EOS"));
    EXPECT_THAT(refusal(good, [](auto& d) { d.unknown = 1 << 30; }), HasSubstr("unknown"));
    EXPECT_THAT(refusal(good, [](auto& d) { d.end_of_generation = {-1}; }), HasSubstr("end-of-generation"));
    EXPECT_THAT(refusal(good, [](auto& d) { d.end_of_generation = {1 << 30}; }),
                HasSubstr("end-of-generation"));
    EXPECT_THAT(refusal(good, [](auto& d) { d.bos = -1, d.add_bos = true; }), HasSubstr("BOS"));
    EXPECT_THAT(refusal(good, [](auto& d) { d.eos = -1, d.add_eos = true; }), HasSubstr("EOS"));
  }
}

TEST(BadTables, OfSentencePiece) {
  const TokenizerData good = tables_of("spm");
  EXPECT_THAT(refusal(good, [](auto& d) { d.scores.pop_back(); }), HasSubstr("scores"));
  EXPECT_THAT(refusal(good, [](auto& d) { d.scores.clear(); }), HasSubstr("scores"));
  EXPECT_THAT(refusal(good, [](auto& d) { d.scores[9] = std::numeric_limits<float>::quiet_NaN(); }),
              HasSubstr("token 9"));
  EXPECT_THAT(refusal(good, [](auto& d) { d.tokens[300] = std::string(80000, 'a'); }),
              HasSubstr("token 300"));
  EXPECT_THAT(refusal(good, [](auto& d) { d.added = {{.id = 1 << 30}}; }), HasSubstr("added"));
  const auto no_bytes = [](TokenizerData& d) {
    for (TokenType& type : d.types) type = type == TokenType::Byte ? TokenType::Unused : type;
    d.unknown = -1;
  };
  EXPECT_THAT(refusal(good, no_bytes), HasSubstr("unknown token"));
  for (const char* text : {"", "<0x>", "<0xG0>", "<0x123>", "<0x-1>", "byte"}) {
    EXPECT_THAT(refusal(good, [&](auto& d) { d.tokens[5] = text; }), HasSubstr("byte token 5"));
  }
  // One byte missing, but an unknown token there to stand for it.
  TokenizerData one_missing = good;
  one_missing.types[std::size_t(3 + 0x07)] = TokenType::Unused;
  const auto tokenizer = Tokenizer::create(one_missing);
  EXPECT_EQ(tokenizer->encode("\a").back(), one_missing.unknown);
}

TEST(BadTables, OfMerges) {
  for (const char* name : {"bpe_gpt-2", "spm.tokenizer"}) {
    const TokenizerData good = tables_of(name);
    EXPECT_THAT(refusal(good, [](auto& d) { d.merges.emplace_back("no such", "piece"); }),
                HasSubstr("merge"));
    EXPECT_THAT(refusal(good, [](auto& d) { d.merges[0] = {"", ""}; }), HasSubstr("merge 0"));
    TokenizerData twice = good;  // the first of equal merges counts
    twice.merges.insert(twice.merges.end(), good.merges.begin(), good.merges.end());
    EXPECT_EQ(Tokenizer::create(twice)->encode("don't 123 abab"),
              Tokenizer::create(good)->encode("don't 123 abab"));
  }
}

TEST(BadTables, OddPiecesDoNoHarm) {
  for (const char* name : kNames) {
    TokenizerData data = tables_of(name);
    const Ids before = Tokenizer::create(data)->encode("hello 123");
    for (const std::string odd : {"", "", "\xFF\xFE", "\xE2\x96", "a", "\xE2\x96\x81"}) {
      data.tokens.push_back(odd);
      data.types.push_back(TokenType::Normal);
      if (!data.scores.empty()) data.scores.push_back(-1e9F);
    }
    data.tokens.emplace_back();
    data.types.push_back(TokenType::UserDefined);
    if (!data.scores.empty()) data.scores.push_back(0);
    const auto tokenizer = Tokenizer::create(data);
    EXPECT_EQ(tokenizer->encode("hello 123"), before) << name;
    Ids all(data.tokens.size());
    for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<std::int32_t>(i);
    EXPECT_FALSE(find_invalid_utf8(tokenizer->decode(all, true)).has_value()) << name;
  }
}

}  // namespace
}  // namespace thinkey::test
