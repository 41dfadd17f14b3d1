#include "eval/needle/haystack.h"

#include <gmock/gmock.h>

#include "eval/needle/prose.h"
#include "support.h"

namespace thinkey::eval::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(Haystack, Sentences) {
  EXPECT_THAT(sentences_of(" One  two.\nThree?\tFour "), ElementsAre("One two.", "Three?", "Four"));
  EXPECT_THAT(sentences_of(" \n"), ElementsAre());
}

TEST(Haystack, PlaceAtADepth) {
  const std::vector<std::string> pieces(10, "12345");
  EXPECT_EQ(place_at(pieces, 0), 0U);
  EXPECT_EQ(place_at(pieces, 0.5), 5U);
  EXPECT_EQ(place_at(pieces, 1), 10U);
  EXPECT_EQ(place_at({}, 0.5), 0U);
}

TEST(Haystack, DirectoryIsReadInOrderAndChecked) {
  const Scratch scratch;
  EXPECT_THAT(error_of([&] { static_cast<void>(read_directory(scratch.path())); }), HasSubstr("no files"));
  scratch.write("b.txt", "Second.");
  scratch.write("a.txt", "First.");
  EXPECT_EQ(read_directory(scratch.path()), "First.\n\nSecond.\n\n");
  scratch.write("c.txt", "bad \xff");
  EXPECT_THAT(error_of([&] { static_cast<void>(read_directory(scratch.path())); }),
              HasSubstr("c.txt: not valid UTF-8"));
  EXPECT_THAT(error_of([&] { static_cast<void>(read_directory(scratch / "none")); }),
              HasSubstr("cannot list"));
}

TEST(Haystack, TextStartsAgainAfterItsEnd) {
  const Haystack haystack({"A.", "B.", "C."});
  Random random(4);
  const auto source = haystack.open(random);
  const std::string first = source();
  static_cast<void>(source());
  static_cast<void>(source());
  EXPECT_EQ(source(), first);
}

TEST(Haystack, GathersUpToTheTokensAsked) {
  const PromptEncoder encoder(bundled_model(), ChatUse::Never);
  Random random(1);
  const auto pieces = gather(Haystack().open(random), encoder, 500);
  std::size_t tokens = 0;
  for (const std::string& piece : pieces) tokens += encoder.length(piece);
  EXPECT_LE(tokens, 500);
  EXPECT_GT(tokens, 450);
}

TEST(Prose, IsSeededAndWithoutPlaceholders) {
  Prose a(7);
  Prose b(7);
  Prose c(8);
  std::string text;
  std::string other;
  for (int i = 0; i < 300; ++i) {
    const std::string piece = a.piece();
    EXPECT_EQ(piece, b.piece());
    text += piece;
    other += c.piece();
  }
  EXPECT_NE(text, other);
  EXPECT_EQ(text.find_first_of("{}_"), std::string::npos);
  EXPECT_GT(occurrences(text, "\n"), 300U / 10);
}

// zlib.crc32(b"Lisbon=48213") % 8 and so on, from Python: the pairs that training left out, and no others.
TEST(Prose, FactsAreThoseThatTrainingLeftOut) {
  Random random(3);
  for (int i = 0; i < 50; ++i) {
    const Fact fact = random_fact(random);
    EXPECT_EQ(fact.value.size(), 5U);
    std::uint32_t crc = 0xFFFFFFFFU;
    for (const char c : fact.key + "=" + fact.value) {
      crc ^= static_cast<unsigned char>(c);
      for (int bit = 0; bit < 8; ++bit) crc = crc % 2 != 0 ? crc / 2 ^ 0xEDB88320U : crc / 2;
    }
    EXPECT_EQ(~crc % 8, 0U) << fact.key << " " << fact.value;
  }
}

TEST(Prose, Replaced) { EXPECT_EQ(replaced("{a} and {a}", "{a}", "{a}x"), "{a}x and {a}x"); }

TEST(Random, SamplesAreIndependentOfEachOther) {
  EXPECT_EQ(random_for(1, "a")(), random_for(1, "a")());
  EXPECT_NE(random_for(1, "a")(), random_for(1, "b")());
  EXPECT_NE(random_for(1, "a")(), random_for(2, "a")());
}

}  // namespace
}  // namespace thinkey::eval::test
