#include "tokenizer/utf8.h"

#include <gtest/gtest.h>

namespace thinkey::test {
namespace {

TEST(Utf8, EveryScalarValueIsValidAndComesBack) {
  for (char32_t character = 0; character <= 0x10FFFF; ++character) {
    if (character == 0xD800) character = 0xE000;
    std::string text;
    append_utf8(text, character);
    const Utf8Step step = next_utf8(text);
    ASSERT_EQ(step.status, Utf8Status::Valid);
    ASSERT_EQ(step.bytes, text.size());
    ASSERT_EQ(step.character, character);
    for (std::size_t cut = 1; cut < text.size(); ++cut) {
      ASSERT_EQ(next_utf8(text.substr(0, cut)).status, Utf8Status::Incomplete);
    }
  }
}

TEST(Utf8, FindsTheFirstIllFormedByte) {
  EXPECT_FALSE(find_invalid_utf8("").has_value());
  EXPECT_FALSE(find_invalid_utf8("a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x99\x82").has_value());
  EXPECT_EQ(find_invalid_utf8("\x80"), 0U);                 // continuation without a start
  EXPECT_EQ(find_invalid_utf8("a\xC1\xBF"), 1U);            // overlong
  EXPECT_EQ(find_invalid_utf8("a\xE0\x9F\xBF"), 1U);        // overlong
  EXPECT_EQ(find_invalid_utf8("a\xF0\x8F\xBF\xBF"), 1U);    // overlong
  EXPECT_EQ(find_invalid_utf8("ab\xED\xA0\x80"), 2U);       // surrogate
  EXPECT_EQ(find_invalid_utf8("ab\xED\xBF\xBF"), 2U);       // surrogate
  EXPECT_EQ(find_invalid_utf8("abc\xF4\x90\x80\x80"), 3U);  // above U+10FFFF
  EXPECT_EQ(find_invalid_utf8("abc\xF5\x80\x80\x80"), 3U);  // no such start
  EXPECT_EQ(find_invalid_utf8("a\xE2\x82"), 1U);            // cut off
  EXPECT_EQ(find_invalid_utf8("a\xE2\x82z"), 1U);           // interrupted
}

TEST(Utf8, DrainsOneReplacementPerIllFormedPart) {
  const auto drain = [](std::string bytes, std::string left) {
    std::string text;
    drain_utf8(bytes, text);
    EXPECT_EQ(bytes, left);
    return text;
  };
  EXPECT_EQ(drain("ab", ""), "ab");
  EXPECT_EQ(drain("a\xE2\x82", "\xE2\x82"), "a");
  EXPECT_EQ(drain("\xE2\x82z", ""), "\xEF\xBF\xBDz");
  EXPECT_EQ(drain("\xFF\xFFz", ""), "\xEF\xBF\xBD\xEF\xBF\xBDz");
  EXPECT_EQ(drain("\xED\xA0\x80", ""), "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");
}

}  // namespace
}  // namespace thinkey::test
