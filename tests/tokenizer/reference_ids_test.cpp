// Ids equal to those of the libraries the vocabularies come from.
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <sstream>

#include "fixtures.h"

namespace thinkey::test {
namespace {

constexpr EncodeOptions kPlain{.add_special = false, .parse_special = false};
constexpr EncodeOptions kParsed{.add_special = false, .parse_special = true};

void expect_ids(const Tokenizer& tokenizer, const nlohmann::json& strings, const nlohmann::json& expected,
                const EncodeOptions& options) {
  ASSERT_EQ(strings.size(), expected.size());
  for (std::size_t i = 0; i < strings.size(); ++i) {
    const std::string text = strings[i];
    EXPECT_EQ(tokenizer.encode(text, options), expected[i].get<Ids>()) << nlohmann::json(text).dump();
  }
}

class ReferenceIds : public testing::TestWithParam<const char*> {};

TEST_P(ReferenceIds, OfEveryFixtureString) {
  const nlohmann::json reference = read_json(fixture("ids.json"));
  ASSERT_GT(reference.at("strings").size(), 100U);
  expect_ids(*make(GetParam()), reference.at("strings"), reference.at("ids").at(GetParam()), kPlain);
}

void expect_special_ids(const Tokenizer& tokenizer, const nlohmann::json& special) {
  expect_ids(tokenizer, special.at("strings"), special.at("parsed"), kParsed);
  expect_ids(tokenizer, special.at("strings"), special.at("as_text"), kPlain);
}

TEST(SpecialTokenIds, OfTheFixtures) {
  const nlohmann::json special = read_json(fixture("ids.json")).at("special");
  for (const char* name : {"bpe_gpt-2", "bpe_smollm", "bpe_llama-bpe", "bpe_default"}) {
    expect_special_ids(*make(name), special.at(name));
  }
  expect_special_ids(*make("spm"), special.at("spm"));
  expect_special_ids(*make("spm.tokenizer"), special.at("spm"));
}

INSTANTIATE_TEST_SUITE_P(Vocabularies, ReferenceIds, testing::ValuesIn(kNames), [](const auto& vocabulary) {
  std::string name = vocabulary.param;
  for (char& c : name) c = std::isalnum(static_cast<unsigned char>(c)) != 0 ? c : '_';
  return name;
});

// --- published vocabularies, where they are at hand -------------------------------------------------

std::filesystem::path shared(const std::string& name) {
  return std::filesystem::path(THINKEY_SHARED) / "tokenizers" / name;
}

std::string read_text(const std::filesystem::path& path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

void expect_published_ids(const std::string& name) {
  if (!std::filesystem::exists(shared(name + ".inp"))) GTEST_SKIP() << "no " << shared(name);
  const auto tokenizer = Tokenizer::create(read_gguf_vocabulary(shared(name)));
  const std::string input = read_text(shared(name + ".inp"));
  std::istringstream output(read_text(shared(name + ".out")));

  constexpr std::string_view kSeparator = "\n__ggml_vocab_test__\n";
  int checked = 0;
  std::size_t at = 0;
  for (std::string line; std::getline(output, line); ++checked) {
    const std::size_t end = input.find(kSeparator, at);
    ASSERT_NE(end, std::string::npos);
    const std::string text = input.substr(at, end - at);
    at = end + kSeparator.size();
    std::istringstream numbers(line);
    const Ids expected{std::istream_iterator<std::int32_t>(numbers), {}};
    EXPECT_EQ(tokenizer->encode(text, kPlain), expected) << nlohmann::json(text).dump();
    EXPECT_EQ(tokenizer->decode(expected), text);
  }
  EXPECT_EQ(at, input.size());
  EXPECT_EQ(checked, 46);
}

TEST(PublishedVocabulary, Gpt2) { expect_published_ids("gpt-2.gguf"); }
TEST(PublishedVocabulary, LlamaSentencePiece) { expect_published_ids("llama-spm.gguf"); }

TEST(PublishedVocabulary, SmolLm2) {
  const auto path = shared("smollm2.tokenizer.json");
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "no " << path;
  const auto tokenizer = Tokenizer::create(read_tokenizer_json(path));
  const nlohmann::json reference = read_json(fixture("ids.json"));
  expect_ids(*tokenizer, reference.at("strings"), reference.at("ids").at("smollm2"), kPlain);
  expect_special_ids(*tokenizer, reference.at("special").at("smollm2"));
}

}  // namespace
}  // namespace thinkey::test
