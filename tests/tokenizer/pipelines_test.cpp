// Every component of tokenizer.json executed as written: small tokenizers with the ids and texts that the
// `tokenizers` package gives (tools/make_pipeline_fixtures.py).
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "fixtures.h"

namespace thinkey::test {
namespace {

constexpr EncodeOptions kPlain{.add_special = false, .parse_special = false};
constexpr EncodeOptions kParsed{.add_special = false, .parse_special = true};

class Pipelines : public testing::Test {
 protected:
  ~Pipelines() override { std::filesystem::remove(path_); }

  std::unique_ptr<Tokenizer> make(const nlohmann::json& description) {
    std::ofstream(path_) << description.dump();
    return Tokenizer::create(read_tokenizer_json(path_));
  }

  std::filesystem::path path_ = std::filesystem::temp_directory_path() /
                                ("thinkey-pipelines-" + std::to_string(::getpid()) + ".tokenizer.json");
};

TEST_F(Pipelines, GiveTheIdsOfTheTokenizersPackage) {
  const nlohmann::json reference = read_json(fixture("pipelines.json"));
  ASSERT_GT(reference.at("cases").size(), 70U);
  for (const nlohmann::json& one : reference.at("cases")) {
    SCOPED_TRACE(one.at("name"));
    nlohmann::json description = one.at("tokenizer");
    description["model"] = reference.at("models").at(one.at("model").get<std::string>());
    description["model"].update(one.at("settings"));
    const auto tokenizer = make(description);
    const nlohmann::json& lines = one.contains("lines") ? one["lines"] : reference.at("lines");
    for (std::size_t i = 0; i < lines.size(); ++i) {
      const Ids ids = one.at("ids")[i];
      EXPECT_EQ(tokenizer->encode(lines[i].get<std::string>(), kPlain), ids) << lines[i].dump();
      if (one.contains("parsed")) {
        EXPECT_EQ(tokenizer->encode(lines[i].get<std::string>(), kParsed), one["parsed"][i].get<Ids>())
            << lines[i].dump();
      }
      if (one.contains("texts")) {
        EXPECT_EQ(tokenizer->decode(ids, true), one["texts"][i]) << lines[i].dump();
      }
    }
  }
}

}  // namespace
}  // namespace thinkey::test
