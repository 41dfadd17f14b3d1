#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/process.h"

namespace thinkey::test {
namespace {

// The vocabulary: <unk>, <s>, </s>, then U+2581 (3) and the characters from '!' (4) on.
std::string id_of(char c) { return std::to_string(c - '!' + 4); }

TEST(Tokenize, IdsOnOneLine) {
  const TemporaryDirectory directory;
  const Outcome outcome =
      run_thinkey({"tokenize", "-m", tiny_model(), "-f", directory.write("text", "ab c")});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(outcome.out, "3 " + id_of('a') + " " + id_of('b') + " 3 " + id_of('c') + "\n");
  EXPECT_EQ(outcome.err, "");
}

TEST(Tokenize, BosOnlyWhenAsked) {
  const std::string bare = run_thinkey({"tokenize", "-m", tiny_model(), "-p", "a"}).out;
  EXPECT_EQ(bare, "3 " + id_of('a') + "\n");
  EXPECT_EQ(run_thinkey({"tokenize", "-m", tiny_model(), "-p", "a", "--bos"}).out, "1 " + bare);
}

TEST(Tokenize, ControlTokensOnlyWhenAsked) {
  EXPECT_EQ(run_thinkey({"tokenize", "-m", tiny_model(), "-p", "</s>", "--special"}).out, "2\n");
  EXPECT_NE(run_thinkey({"tokenize", "-m", tiny_model(), "-p", "</s>"}).out, "2\n");
}

TEST(Tokenize, EveryByteCounts) {
  const TemporaryDirectory directory;
  const std::string with =
      run_thinkey({"tokenize", "-m", tiny_model(), "-f", directory.write("a", "a\n")}).out;
  const std::string without =
      run_thinkey({"tokenize", "-m", tiny_model(), "-f", directory.write("b", "a")}).out;
  EXPECT_NE(with, without);  // the last newline is text like any other
  EXPECT_EQ(run_thinkey({"tokenize", "-m", tiny_model(), "-f", directory.write("c", "")}).out, "\n");
  EXPECT_EQ(run_thinkey({"tokenize", "-m", tiny_model(), "-f", "-"}, {.input = "a"}).out, without);
}

TEST(Tokenize, InvalidUtf8NamesFileAndByte) {
  const TemporaryDirectory directory;
  const std::string path = directory.write("latin1.txt", "caf\xe9 au lait");
  expect_failure(run_thinkey({"tokenize", "-m", tiny_model(), "-f", path}), 1, {path, "UTF-8", "byte 3"});
  // Overlong, surrogate, cut short.
  expect_failure(run_thinkey({"tokenize", "-m", tiny_model(), "-p", "ab\xc0\xaf"}), 1, {"UTF-8", "byte 2"});
  expect_failure(run_thinkey({"tokenize", "-m", tiny_model(), "-p", "\xed\xa0\x80"}), 1, {"UTF-8", "byte 0"});
  expect_failure(run_thinkey({"tokenize", "-m", tiny_model(), "-p", "a\xe2\x82"}), 1, {"UTF-8", "byte 1"});
}

TEST(Tokenize, BadInput) {
  const TemporaryDirectory directory;
  expect_failure(run_thinkey({"tokenize", "-m", tiny_model()}), 2, {"-f", "-p"});
  expect_failure(run_thinkey({"tokenize", "-m", tiny_model(), "-f", "x", "-p", "y"}), 2,
                 {"--prompt", "--file"});
  expect_failure(run_thinkey({"tokenize", "-m", tiny_model(), "-f", "/nowhere/text"}), 1,
                 {"/nowhere/text", "No such file"});
  expect_failure(run_thinkey({"tokenize", "-m", tiny_model(), "-f", directory / ""}), 1, {"Is a directory"});
  expect_failure(run_thinkey({"tokenize", "-m", fixture("model/llama31.gguf"), "-p", "a"}), 1, {"tokenizer"});
}

}  // namespace
}  // namespace thinkey::test
