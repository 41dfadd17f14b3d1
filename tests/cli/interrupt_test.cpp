// Signals and lost files while the program works.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>

#include "cli/process.h"

namespace thinkey::test {
namespace {

using ::testing::HasSubstr;

std::string needle_model() { return THINKEY_MODELS "/thinkey-needle.gguf"; }

std::string long_text() {
  std::string text;
  for (int i = 0; i < 500; ++i) text += "Paragraph " + std::to_string(i) + " of some text. ";
  return text;
}

// In oneDNN's generated code the stack pointer may point into the heap: 8 of 24 runs used to end by SIGABRT.
TEST(Signals, WhileProductsAreGeneratedEndInOneLine) {
  const TemporaryDirectory directory;
  const std::string file = directory.write("prompt", long_text());
  for (const int signal : {SIGINT, SIGTERM}) {
    for (int i = 0; i < 6; ++i) {
      const Outcome outcome = run_thinkey(
          {"run", "-m", needle_model(), "-f", file, "-n", "1", "-t", "1", "--prefill-precision", "f32"},
          {.interrupt_work = true, .signal = signal, .interrupt_delay_ms = 17 * i});
      if (outcome.status == 0) continue;  // it was faster
      expect_failure(outcome, 128 + signal, {"interrupted"});
    }
  }
}

TEST(Signals, TermEndsAnAnswer) {
  const Outcome outcome =
      run_thinkey({"run", "-m", needle_model(), "-p", "Hello", "-n", "4000", "-q", "--temp", "0"},
                  {.interrupt_after = " ", .signal = SIGTERM});
  EXPECT_EQ(outcome.status, 143) << outcome.err;
  EXPECT_EQ(outcome.err, "");
}

// SIGBUS: one line that names the file, exit code 1, no temporary files, and what was saved before is whole.
TEST(LostMapping, EndsInOneLine) {
  const TemporaryDirectory directory;
  const std::string model = directory / "model.gguf";
  std::filesystem::copy_file(needle_model(), model);
  const std::string saved = directory.write("saved.kv", "an older file");
  const Outcome outcome = run_thinkey({"run", "-m", model, "-p", "Hello", "-n", "4000", "-q", "--temp", "0",
                                       "--no-repack", "--save-cache", saved},
                                      {.interrupt_after = " ", .truncate = model});
  expect_failure(outcome, 1, {"model.gguf", "cut short"});
  EXPECT_EQ(read_bytes(saved), "an older file");
  EXPECT_EQ(
      std::distance(std::filesystem::directory_iterator(std::filesystem::path(model).parent_path()), {}), 2);
}

TEST(FullDisk, LeavesTheOldSavedCache) {
  const TemporaryDirectory directory;
  const std::string saved = directory.write("saved.kv", "an older file");
  const Outcome outcome =
      run_thinkey({"run", "-m", tiny_model(), "-p", "Hello", "-n", "1", "-q", "--save-cache", saved},
                  {.file_limit = 1000});
  expect_failure(outcome, 1, {"saved.kv", "cannot write"});
  EXPECT_EQ(read_bytes(saved), "an older file");
  EXPECT_EQ(
      std::distance(std::filesystem::directory_iterator(std::filesystem::path(saved).parent_path()), {}), 1);
}

TEST(Early, BadOptionsAreRefusedBeforeTheWork) {
  const auto run = [](const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {"run", "-m", tiny_model(), "-p", "Hello", "-n", "1", "-q"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_thinkey(arguments);
  };
  expect_failure(run({"--save-cache", "/nonexistent/x"}), 1, {"/nonexistent/x", "--save-cache"});
  expect_failure(run({"--save-cache", "/dev/null"}), 1, {"/dev/null", "--save-cache"});
  for (const char* seed : {"18446744073709551616", "99999999999999999999", "-2", "1.5", "x"}) {
    expect_failure(run({"-s", seed}), 2, {seed, "2^64"});
  }
  EXPECT_THAT(run({"-s", "18446744073709551615", "--json"}).out, HasSubstr("18446744073709551615"));
  EXPECT_THAT(run({"-c", "1000"}).err, HasSubstr("warning: a context of 1000 is more than the model's 256"));
  EXPECT_EQ(run({"-c", "256"}).err, "");
}

TEST(Early, PromptsThatCannotFitAreNotRead) {
  const TemporaryDirectory directory;
  const std::string file = directory.write("large", "x");
  std::filesystem::resize_file(file, std::uintmax_t{3} << 30U);
  expect_failure(run_thinkey({"run", "-m", tiny_model(), "-f", file}), 1, {"large", "256 tokens"});
}

TEST(Early, OneDepthNeedsItsSign) {
  const TemporaryDirectory directory;
  const auto needle = [&](const std::string& depths) {
    return run_thinkey({"eval", "needle", "-m", needle_model(), "--lengths", "256", "--depths", depths,
                        "--results", directory / "r.jsonl", "--fresh", "-n", "4"});
  };
  expect_failure(needle("5"), 2, {"5%", "0,25,50"});
  expect_failure(needle("101%"), 2, {"101%"});
  const Outcome one = needle("5%");
  EXPECT_EQ(one.status, 0) << one.err;
  EXPECT_THAT(one.out, HasSubstr("  cache      5   mean\n"));  // one column, of depth 5
}

}  // namespace
}  // namespace thinkey::test
