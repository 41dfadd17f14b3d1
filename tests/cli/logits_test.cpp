#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "cli/process.h"
#include "formats/safetensors.h"

namespace thinkey::test {
namespace {

struct Expected {
  std::vector<std::int64_t> ids;  // [T]
  std::vector<float> logits;      // [T, V], transformers in f32
};

Expected expected() {
  const SafetensorsFile file(fixture("model/llama2.expected.safetensors"));
  return {to_integers(file.at("ids")), to_floats(file.at("logits"))};
}

std::string join(const std::vector<std::int64_t>& ids, char separator) {
  std::string text;
  for (const std::int64_t id : ids) text += std::to_string(id) + separator;
  return text;
}

// Largest difference between [rows, V] values and the same number of expected rows from `first` on.
double largest_difference(const std::vector<float>& values, const std::vector<float>& wanted,
                          std::size_t first) {
  double largest = 0.0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    largest =
        std::max(largest, std::abs(static_cast<double>(values[i]) - wanted.at(first * kTinyVocabulary + i)));
  }
  return largest;
}

struct Written {
  std::vector<std::int64_t> shape;
  std::vector<float> logits;
};

Written logits_of(std::vector<std::string> options) {
  const TemporaryDirectory directory;
  options.insert(options.begin(),
                 {"logits", "-m", tiny_model(), "--ids", directory.write("ids", join(expected().ids, '\n')),
                  "-o", directory / "out", "--prefill-precision", "f32"});
  const Outcome outcome = run_thinkey(options);
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(outcome.err, "");
  const SafetensorsFile file(directory / "out");
  EXPECT_EQ(file.tensors().size(), 1);
  EXPECT_EQ(file.at("logits").type, SafetensorsType::F32);
  return {file.at("logits").shape, to_floats(file.at("logits"))};
}

TEST(Logits, EqualTransformers) {
  const Expected wanted = expected();
  const Written all = logits_of({});
  EXPECT_EQ(all.shape,
            (std::vector<std::int64_t>{static_cast<std::int64_t>(wanted.ids.size()), kTinyVocabulary}));
  EXPECT_LE(largest_difference(all.logits, wanted.logits, 0), 1e-3);
}

TEST(Logits, LastPosition) {
  const Expected wanted = expected();
  const Written last = logits_of({"--last"});
  EXPECT_EQ(last.shape, (std::vector<std::int64_t>{1, kTinyVocabulary}));
  EXPECT_LE(largest_difference(last.logits, wanted.logits, wanted.ids.size() - 1), 1e-3);
}

// Decoding goes through the cache: f16 in full, and visibly different once it is thin.
TEST(Logits, DecodedPart) {
  const Expected wanted = expected();
  EXPECT_LE(largest_difference(logits_of({"--prefill", "60"}).logits, wanted.logits, 0), 4e-2);
  EXPECT_LE(largest_difference(logits_of({"--prefill", "1", "--last"}).logits, wanted.logits,
                               wanted.ids.size() - 1),
            4e-2);
}

TEST(Logits, CacheShowsOnlyInTheDecodedPart) {
  const Expected wanted = expected();
  const std::string spec = "snapkv:budget=16,window=8+think:keys=0.5,recent=8,form=paper";
  const Written prompt = logits_of({"--cache", spec});
  EXPECT_LE(largest_difference(prompt.logits, wanted.logits, 0), 1e-3);
  const Written decoded = logits_of({"--cache", spec, "--prefill", "60"});
  const std::vector<float> head(decoded.logits.begin(),
                                decoded.logits.begin() + std::ptrdiff_t{60} * kTinyVocabulary);
  EXPECT_LE(largest_difference(head, wanted.logits, 0), 1e-3);
  EXPECT_GT(largest_difference(decoded.logits, wanted.logits, 0), 1e-2);
}

class LogitsBadInput : public ::testing::Test {
 protected:
  Outcome run(std::string_view ids, const std::vector<std::string>& more = {},
              const Surroundings& surroundings = {}) {
    std::vector<std::string> arguments = {
        "logits", "-m", tiny_model(), "--ids", directory_.write("ids", ids), "-o", directory_ / "out"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_thinkey(arguments, surroundings);
  }
  // Neither the file nor a temporary one is left behind.
  void expect_nothing_written() {
    std::size_t files = 0;
    for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(directory_ / "")) ++files;
    EXPECT_EQ(files, 1);  // ids
  }
  TemporaryDirectory directory_;
};

TEST_F(LogitsBadInput, Ids) {
  expect_failure(run("1 2\n3 four 5\n"), 1, {"ids", "line 2, word 2", "\"four\""});
  expect_failure(run("1 2\n\n  96\n"), 1, {"line 3, word 1", "96", "vocabulary of 96"});
  expect_failure(run("-1"), 1, {"line 1, word 1", "-1"});
  expect_failure(run("99999999999"), 1, {"99999999999"});
  expect_failure(run("1,2,3"), 1, {"1,2,3"});
  expect_failure(run(std::string("1 \0 2", 5)), 1, {"word 2"});
  expect_failure(run(" \n\t "), 1, {"no token ids"});
  expect_nothing_written();
}

TEST_F(LogitsBadInput, LongerThanTheContext) {
  std::string ids;
  for (int i = 0; i <= kTinyContext; ++i) ids += "5 ";
  expect_failure(run(ids), 1, {"context", "257", "256"});
  expect_nothing_written();
}

TEST_F(LogitsBadInput, Options) {
  expect_failure(run("1 2 3", {"--prefill", "4"}), 2, {"--prefill", "3 ids"});
  expect_failure(run("1 2 3", {"--prefill", "-1"}), 2, {"--prefill"});
  expect_failure(run("1 2 3", {"--cache", "thin"}), 2, {"thin"});
  expect_failure(
      run_thinkey({"logits", "-m", tiny_model(), "--ids", "/nowhere/ids", "-o", directory_ / "out"}), 1,
      {"/nowhere/ids"});
}

TEST_F(LogitsBadInput, Output) {
  expect_failure(run("1 2 3", {"-o", "/nowhere/out.safetensors"}), 2, {"-o"});  // twice
  const std::string ids = directory_.write("ids", "1 2 3");
  const auto write_to = [&](const std::string& path, const Surroundings& surroundings = {}) {
    return run_thinkey({"logits", "-m", tiny_model(), "--ids", ids, "-o", path}, surroundings);
  };
  expect_failure(write_to("/nowhere/out"), 1, {"/nowhere/out"});
  expect_failure(write_to("/dev/full"), 1, {"/dev/full", "regular file"});
  expect_failure(write_to(directory_ / ""), 1, {"regular file"});
  expect_failure(write_to(directory_ / "out", {.file_limit = 512}), 1, {"out"});  // as on a full disk
  expect_nothing_written();
}

}  // namespace
}  // namespace thinkey::test
