#include <gtest/gtest.h>

#include "fixtures.h"

namespace thinkey::test {
namespace {

// Every piece a stream gives is whole characters, and together they are what decode() gives.
void expect_stream_equals_decode(const Tokenizer& tokenizer, const Ids& ids) {
  for (const bool special : {false, true}) {
    StreamDecoder decoder(tokenizer, special);
    std::string text;
    for (const std::int32_t id : ids) {
      const std::string piece = decoder.push(id);
      ASSERT_FALSE(find_invalid_utf8(piece).has_value());
      text += piece;
    }
    text += decoder.finish();
    ASSERT_EQ(text, tokenizer.decode(ids, special));
    ASSERT_EQ(decoder.finish(), "");
  }
}

TEST(StreamDecoder, EqualsDecode) {
  std::mt19937 random(21);
  for (const char* name : kNames) {
    const auto tokenizer = make(name);
    for (int i = 0; i < 100; ++i) {
      expect_stream_equals_decode(*tokenizer, tokenizer->encode(random_text(random, 60)));
      Ids any(50);  // any ids at all: ill-formed bytes, control tokens in between
      for (std::int32_t& id : any) id = static_cast<std::int32_t>(random() % tokenizer->vocabulary());
      expect_stream_equals_decode(*tokenizer, any);
    }
  }
}

TEST(StreamDecoder, HoldsBackHalfACharacter) {
  const auto tokenizer = make("spm");
  const auto byte = [&](const char* name) { return *tokenizer->find(name); };
  StreamDecoder decoder(*tokenizer);
  EXPECT_EQ(decoder.push(byte("<0xF0>")), "");
  EXPECT_EQ(decoder.push(byte("<0x9F>")), "");
  EXPECT_EQ(decoder.push(byte("<0xA6>")), "");
  EXPECT_EQ(decoder.push(byte("<0x99>")), "\xF0\x9F\xA6\x99");
  EXPECT_EQ(decoder.push(byte("<0x41>")), "A");
  EXPECT_EQ(decoder.finish(), "");
}

TEST(StreamDecoder, ReplacesWhatCannotBeCompleted) {
  const auto tokenizer = make("bpe_gpt-2");
  const auto push_bytes = [&](StreamDecoder& decoder, std::initializer_list<const char*> pieces) {
    std::string text;
    for (const char* piece : pieces) text += decoder.push(*tokenizer->find(piece));
    return text;
  };
  StreamDecoder decoder(*tokenizer);
  EXPECT_EQ(push_bytes(decoder, {"\xC3\xB0", "\xC5\x81", "a"}),
            "\xEF\xBF\xBD"
            "a");                                                // F0 9F, then no continuation
  EXPECT_EQ(push_bytes(decoder, {"\xC3\xBF"}), "\xEF\xBF\xBD");  // FF
  EXPECT_EQ(push_bytes(decoder, {"\xC3\xA2"}), "");              // E2 begins a character
  EXPECT_EQ(decoder.finish(), "\xEF\xBF\xBD");
}

TEST(StreamDecoder, LeadingSpaceBelongsToTheTextsStart) {
  const auto tokenizer = make("spm");
  const Ids ids = tokenizer->encode("bo ka", {.add_special = false});
  const auto run = [&](bool at_start) {
    StreamDecoder decoder(*tokenizer, false, at_start);
    std::string text;
    for (const std::int32_t id : ids) text += decoder.push(id);
    return text + decoder.finish();
  };
  EXPECT_EQ(run(true), "bo ka");
  EXPECT_EQ(run(false), " bo ka");
}

}  // namespace
}  // namespace thinkey::test
