#include "eval/longbench/scores.h"

#include <gtest/gtest.h>

namespace thinkey::eval::test {
namespace {

TEST(Scores, LowerCase) {
  EXPECT_EQ(lower_case("AbC 1Z"), "abc 1z");
  EXPECT_EQ(lower_case("ÄÖ ΣΩ"), "äö σω");
  EXPECT_EQ(lower_case("\xff"
                       "A\xc3"),
            "\xff"
            "a\xc3");
}

TEST(Scores, Trimmed) {
  EXPECT_EQ(trimmed(" \n a b\t"), "a b");
  EXPECT_EQ(trimmed(" \n"), "");
}

// RULER's string_match_all and string_match_part.
TEST(Scores, Match) {
  EXPECT_DOUBLE_EQ(match_all("The numbers are 12 and 345.", {"12", "345", "678"}), 2.0 / 3.0);
  EXPECT_DOUBLE_EQ(match_all("PARIS", {"Paris"}), 1.0);
  EXPECT_DOUBLE_EQ(match_all("", {"x"}), 0.0);
  EXPECT_DOUBLE_EQ(match_all("anything", {}), 0.0);
  EXPECT_DOUBLE_EQ(match_part("b", {"a", "b"}), 1.0);
  EXPECT_DOUBLE_EQ(match_part("c", {"a", "b"}), 0.0);
}

TEST(Scores, Rouge1Recall) {
  EXPECT_DOUBLE_EQ(rouge1_recall("a cat sat", {"the cat sat on a mat"}), 0.5);
  EXPECT_DOUBLE_EQ(rouge1_recall("the the the", {"the dog the"}), 2.0 / 3.0);  // clipped counts
  EXPECT_DOUBLE_EQ(rouge1_recall("Cat, dog!", {"bird", "DOG cat"}), 1.0);
  EXPECT_DOUBLE_EQ(rouge1_recall("", {"x"}), 0.0);
  EXPECT_DOUBLE_EQ(rouge1_recall("x", {"..."}), 0.0);
}

}  // namespace
}  // namespace thinkey::eval::test
