// The program as a whole: help, version, mistakes on the command line, output that cannot be written.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/process.h"

namespace thinkey::test {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;

const std::vector<std::string> kCommands = {"run",      "chat",   "inspect", "template",
                                            "tokenize", "logits", "compress"};

TEST(Usage, Version) {
  const Outcome outcome = run_thinkey({"--version"});
  EXPECT_EQ(outcome.status, 0);
  EXPECT_EQ(outcome.out, "thinkey " THINKEY_VERSION "\n");
  EXPECT_EQ(outcome.err, "");
}

TEST(Usage, HelpListsCommandsAndExamples) {
  const Outcome outcome = run_thinkey({"--help"});
  EXPECT_EQ(outcome.status, 0);
  for (const std::string& command : kCommands) EXPECT_THAT(outcome.out, HasSubstr("\n  " + command + " "));
  EXPECT_THAT(outcome.out, HasSubstr("Examples:\n  thinkey run "));
}

TEST(Usage, EveryCommandHasHelpWithExamples) {
  for (const std::string& command : kCommands) {
    const Outcome outcome = run_thinkey({command, "--help"});
    EXPECT_EQ(outcome.status, 0) << command;
    EXPECT_THAT(outcome.out, HasSubstr("Examples:\n")) << command;
    EXPECT_THAT(outcome.out, HasSubstr("Usage: thinkey " + command + " ")) << command;
    EXPECT_EQ(outcome.err, "") << command;
  }
}

TEST(Usage, DefaultsAreShown) {
  const std::string help = run_thinkey({"run", "--help"}).out;
  EXPECT_THAT(help, ContainsRegex("--top-k N[ =]\\[?40"));
  EXPECT_THAT(help, ContainsRegex("--cache SPEC[ =]\\[?full"));
}

TEST(Usage, NoCommand) { expect_failure(run_thinkey({}), 2, {"no command", "run, chat, serve, inspect"}); }

TEST(Usage, UnknownCommand) {
  expect_failure(run_thinkey({"generate", "-m", "x"}), 2, {"unknown command \"generate\"", "run, chat"});
}

TEST(Usage, UnknownOption) {
  expect_failure(run_thinkey({"run", "-m", tiny_model(), "-p", "a", "--tmep", "1"}), 2, {"--tmep"});
  expect_failure(run_thinkey({"--tmep"}), 2, {"--tmep"});
}

TEST(Usage, MissingModel) {
  for (const char* command : {"run", "chat", "tokenize", "logits"}) {
    expect_failure(run_thinkey({command}), 2, {"--model"});
  }
}

TEST(Usage, NotANumber) {
  expect_failure(run_thinkey({"run", "-m", tiny_model(), "-p", "a", "-n", "many"}), 2, {"-n", "many"});
  expect_failure(run_thinkey({"run", "-m", tiny_model(), "-p", "a", "-t", "-3"}), 2, {"threads"});
  expect_failure(run_thinkey({"run", "-m", tiny_model(), "-p", "a", "-c", "99999999999999999999"}), 2,
                 {"-c"});
}

TEST(Usage, PrecisionNamesItsChoices) {
  expect_failure(run_thinkey({"run", "-m", tiny_model(), "-p", "a", "--prefill-precision", "f16"}), 2,
                 {"f16", "auto", "f32"});
  expect_failure(run_thinkey({"run", "-m", tiny_model(), "-p", "a", "--decode-precision", "int4"}), 2,
                 {"int4", "auto", "f32"});
}

TEST(Usage, SamplerOptionOutOfRange) {
  expect_failure(run_thinkey({"run", "-m", "nowhere.gguf", "-p", "a", "--temp", "-1"}), 2, {"temp"});
}

// A spec is checked before anything is loaded: the model does not even exist.
TEST(Usage, CacheSpecNamesTheWord) {
  for (const char* command : {"run", "chat"}) {
    expect_failure(run_thinkey({command, "-m", "nowhere.gguf", "--cache", "snapkv:2048+thikn:0.4"}), 2,
                   {"thikn"});
  }
  expect_failure(run_thinkey({"inspect", "nowhere.gguf", "--cache", "snapkv:buget=3"}), 2, {"buget"});
}

TEST(Usage, UnreadableModel) {
  for (const char* command : {"run", "chat", "tokenize", "inspect"}) {
    std::vector<std::string> arguments = {command, "-m", "/nowhere/model.gguf"};
    if (std::string(command) != "chat" && std::string(command) != "inspect") {
      arguments.insert(arguments.end(), {"-p", "a"});
    }
    expect_failure(run_thinkey(arguments), 1, {"/nowhere/model.gguf"});
  }
}

TEST(Usage, DirectoryWithoutConfig) {
  const TemporaryDirectory directory;
  expect_failure(run_thinkey({"inspect", directory / ""}), 1, {"config.json"});
}

TEST(Usage, NotAModel) {
  const TemporaryDirectory directory;
  expect_failure(run_thinkey({"inspect", directory.write("text.gguf", "It was a dark and stormy night.")}), 1,
                 {"text.gguf"});
  expect_failure(run_thinkey({"inspect", directory.write("empty.gguf", "")}), 1, {"empty.gguf"});
}

// A line break in an argument does not become a second line of the message.
TEST(Usage, MessagesAreOneLine) {
  expect_failure(run_thinkey({"inspect", "no\nwhere.gguf"}), 1, {"no where.gguf"});
}

TEST(Output, FullDisk) {
  const Surroundings full = {.output = "/dev/full"};
  expect_failure(run_thinkey({"--version"}, full), 1, {"standard output"});
  expect_failure(run_thinkey({"run", "--help"}, full), 1, {"standard output"});
  expect_failure(run_thinkey({"inspect", tiny_model()}, full), 1, {"standard output", "No space left"});
  expect_failure(run_thinkey({"tokenize", "-m", tiny_model(), "-p", "a"}, full), 1, {"standard output"});
  expect_failure(run_thinkey({"run", "-m", tiny_model(), "-p", "a", "-n", "4", "-q"}, full), 1,
                 {"standard output"});
  expect_failure(run_thinkey({"run", "-m", tiny_model(), "-p", "a", "-n", "4", "--json"}, full), 1,
                 {"standard output"});
}

TEST(Output, ClosedPipe) {
  const Surroundings closed = {.closed_output = true};
  expect_failure(run_thinkey({"inspect", tiny_model()}, closed), 1, {"standard output", "pipe"});
  expect_failure(run_thinkey({"run", "-m", tiny_model(), "-p", "a", "-n", "4", "-q"}, closed), 1,
                 {"standard output"});
}

}  // namespace
}  // namespace thinkey::test
