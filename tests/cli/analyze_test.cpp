#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/process.h"

namespace thinkey::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using Json = nlohmann::json;

Outcome analyze(const std::vector<std::string>& more) {
  std::vector<std::string> arguments = {"analyze", "-m", tiny_model(), "-t", "1", "--prefill-precision",
                                        "f32"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return run_thinkey(arguments);
}

std::string long_text() {
  std::string text;
  for (int i = 0; i < 20; ++i) text += "ann met bob at " + std::to_string(i) + ". ";
  return text.substr(0, 200);
}

std::size_t count(const std::string& text, const std::string& word) {
  std::size_t n = 0;
  for (std::size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) ++n;
  return n;
}

TEST(Analyze, TablesFiguresAndJson) {
  const TemporaryDirectory directory;
  const Outcome outcome =
      analyze({"-p", long_text(), "--cache", "full", "--cache", "think:0.4,form=paper", "--cache",
               "think:0.8,form=paper", "--json", directory / "out.json", "--html", directory / "out.html"});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(outcome.err, "");
  EXPECT_THAT(outcome.out, AllOf(HasSubstr("share of the energy"), HasSubstr("singular values"),
                                 HasSubstr("attention-logit error by layer")));
  const Json json = Json::parse(read_bytes(directory / "out.json"));
  const auto layers = json["layers"].get<std::size_t>();
  const auto dim = json["head_dim"].get<std::size_t>();
  ASSERT_EQ(json["by_layer"].size(), layers);
  for (const Json& layer : json["by_layer"]) {
    for (const char* what : {"keys_before_rope", "keys_after_rope", "values"}) {
      const Json& entry = layer["magnitudes"][what];
      ASSERT_EQ(entry["kv_heads"].size(), json["kv_heads"].get<std::size_t>());
      EXPECT_EQ(entry["kv_heads"][0].size(), dim);
      EXPECT_LE(entry["top_shares"][0].get<double>(), entry["top_shares"][1].get<double>());
      EXPECT_GE(entry["top_shares"][0].get<double>(), 0.1);
    }
    ASSERT_EQ(layer["ranks"]["logits"]["heads"].size(), json["query_heads"].get<std::size_t>());
    const auto ranks = layer["ranks"]["logits"]["heads"][0].get<std::vector<std::size_t>>();
    EXPECT_TRUE(1 <= ranks[0] && ranks[0] <= ranks[1] && ranks[1] <= ranks[2] && ranks[2] <= dim);
    EXPECT_EQ(layer["ranks"]["keys"]["mean_curve"].size(), dim);
  }
  // More pruning, more error; none, nearly none.
  const auto error = [&](std::size_t cache, std::size_t layer) {
    return json["caches"][cache]["layers"][layer]["window"]["logits"].get<double>();
  };
  for (std::size_t layer = 0; layer < layers; ++layer) {
    EXPECT_LT(error(0, layer), 2e-3);
    EXPECT_LT(error(0, layer), error(1, layer));
    EXPECT_LT(error(1, layer), error(2, layer));
  }
  EXPECT_LT(json["caches"][2]["bytes"].get<int>(), json["caches"][1]["bytes"].get<int>());

  const std::string html = read_bytes(directory / "out.html");
  EXPECT_EQ(count(html, "class=\"heat-map\""), 3U);
  EXPECT_EQ(count(html, "class=\"chart\""), 2U);
  EXPECT_EQ(count(html, "class=\"cell\""), 3 * layers * json["kv_heads"].get<std::size_t>() * dim);
}

TEST(Analyze, ChosenLayersAndTokens) {
  const TemporaryDirectory directory;
  const Outcome outcome = analyze({"-f", directory.write("text", long_text()), "--tokens", "50", "--layers",
                                   "1", "--html", directory / "out.html", "--json", directory / "out.json"});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  const Json json = Json::parse(read_bytes(directory / "out.json"));
  EXPECT_EQ(json["tokens"], 50);
  EXPECT_TRUE(json["caches"].empty());
  EXPECT_EQ(count(read_bytes(directory / "out.html"), "class=\"cell\""),
            3 * json["kv_heads"].get<std::size_t>() * json["head_dim"].get<std::size_t>());
}

TEST(Analyze, BadInput) {
  const TemporaryDirectory directory;
  expect_failure(analyze({}), 2, {"-f", "-p"});
  expect_failure(analyze({"-p", "hello", "--layers", "9"}), 2, {"--layers", "9"});
  expect_failure(analyze({"-p", "hello", "--cache", "thin"}), 2, {"thin"});
  expect_failure(analyze({"-f", "/nowhere"}), 1, {"/nowhere"});
  expect_failure(analyze({"-f", directory.write("latin", "caf\xE9")}), 1, {"latin", "UTF-8"});
  expect_failure(analyze({"-p", "hello", "--html", "/nowhere/out.html"}), 1, {"/nowhere/out.html"});
  expect_failure(analyze({"-p", std::string(300, 'a')}), 1, {"context", "256"});
}

}  // namespace
}  // namespace thinkey::test
