#include "formats/tokenizer_json.h"

#include <gmock/gmock.h>

#include <functional>

#include "formats/format_test_util.h"
#include "formats/pre_tokenizer_table.h"

namespace thinkey {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using namespace thinkey::testing;  // NOLINT(google-build-using-namespace)
using Json = nlohmann::json;

class TokenizerJson : public ::testing::Test {
 protected:
  Json byte_level_ = Json::parse(read_file(fixture("hf_two/tokenizer.json")));
  Json sentence_piece_ = Json::parse(read_file(fixture("hf_one/tokenizer.json")));

  TokenizerData read(const Json& json) {
    write_file(path_, json.dump());
    return read_tokenizer_json(path_);
  }
  // `json` after `change` must be refused.
  void refuses(std::string_view part, Json json, const std::function<void(Json&)>& change) {
    SCOPED_TRACE(part);
    change(json);
    write_file(path_, json.dump());
    expect_data_error(path_, part, [&] { (void)read_tokenizer_json(path_); });
  }
  void refuses_byte_level(std::string_view part, const std::function<void(Json&)>& change) {
    refuses(part, byte_level_, change);
  }

  TemporaryDirectory directory_;
  std::filesystem::path path_ = directory_ / "tokenizer.json";
};

TEST_F(TokenizerJson, ByteLevel) {
  const TokenizerData data = read_tokenizer_json(fixture("hf_two/tokenizer.json"));
  const auto& wanted = expected()["hf_two"];
  EXPECT_EQ(data.model, TokenizerModel::BytePairs);
  ASSERT_THAT(data.splits, SizeIs(2));
  EXPECT_EQ(data.splits[0].pattern, kLlama3Words);
  EXPECT_EQ(data.splits[1].kind, SplitStep::Kind::ByteAlphabet);
  EXPECT_EQ(data.tokens, wanted["tokens"].get<std::vector<std::string>>());
  EXPECT_EQ(data.merges, (wanted["merges"].get<std::vector<std::pair<std::string, std::string>>>()));
  EXPECT_EQ(data.types[17], TokenType::Normal);
  EXPECT_EQ(data.types[18], TokenType::Control);
  EXPECT_EQ(data.types[21], TokenType::UserDefined);
  EXPECT_EQ(data.bos, 18);
  EXPECT_TRUE(data.add_bos);
  EXPECT_TRUE(data.ignore_merges);
  EXPECT_THAT(data.end_of_generation, ElementsAre(19, 20));
}

TEST_F(TokenizerJson, MergesAsText) {
  Json json = byte_level_;
  for (Json& merge : json["model"]["merges"]) {
    merge = merge[0].get<std::string>() + " " + merge[1].get<std::string>();
  }
  EXPECT_EQ(read(json).merges, read_tokenizer_json(fixture("hf_two/tokenizer.json")).merges);
}

TEST_F(TokenizerJson, MetaspaceOfOldFiles) {
  Json json = sentence_piece_;
  json["normalizer"] = nullptr;
  json["pre_tokenizer"] = {{"type", "Metaspace"}, {"replacement", "\u2581"}, {"add_prefix_space", true}};
  const TokenizerData data = read(json);
  ASSERT_THAT(data.splits, SizeIs(2));
  EXPECT_EQ(data.splits[0].prepend, SplitStep::Prepend::Always);
  EXPECT_EQ(data.splits[1].behavior, SplitBehavior::MergedWithNext);
  json["pre_tokenizer"]["add_prefix_space"] = false;
  EXPECT_EQ(read(json).splits[0].prepend, SplitStep::Prepend::Never);
}

TEST_F(TokenizerJson, BertAndRobertaStandAroundTheText) {
  Json json = byte_level_;
  json["post_processor"] = {{"type", "RobertaProcessing"},
                            {"sep", {"<|eot_id|>", 20}},
                            {"cls", {"<|begin_of_text|>", 18}},
                            {"trim_offsets", true}};
  const TokenizerData data = read(json);
  EXPECT_TRUE(data.add_bos);
  EXPECT_TRUE(data.add_eos);
  EXPECT_EQ(data.bos, 18);
}

TEST_F(TokenizerJson, SmolLm2) {
  const std::filesystem::path path =
      std::filesystem::path(THINKEY_SHARED) / "tokenizers/smollm2.tokenizer.json";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "no shared files";
  const TokenizerData data = read_tokenizer_json(path);
  EXPECT_EQ(data.model, TokenizerModel::BytePairs);
  ASSERT_THAT(data.splits, SizeIs(3));
  EXPECT_EQ(data.splits[0].pattern, kEveryNumber);
  EXPECT_EQ(data.splits[1].pattern, kGpt2Words);
  EXPECT_THAT(data.tokens, SizeIs(49152));
  EXPECT_THAT(data.merges, SizeIs(48900));
  EXPECT_EQ(data.merges[0], (std::pair<std::string, std::string>("\u0120", "t")));
  EXPECT_EQ(data.types[2], TokenType::Control);
  EXPECT_FALSE(data.add_bos);
  EXPECT_THAT(data.end_of_generation, ElementsAre(0, 2));  // <|endoftext|>, <|im_end|>
}

TEST_F(TokenizerJson, GapsBecomeUnusedTokens) {
  Json json = byte_level_;
  json["added_tokens"].push_back({{"id", 25}, {"content", "<later>"}, {"special", true}});
  const TokenizerData data = read(json);
  ASSERT_THAT(data.tokens, SizeIs(26));
  EXPECT_EQ(data.types[24], TokenType::Unused);
  EXPECT_EQ(data.tokens[24], "[PAD24]");
  EXPECT_EQ(data.types[25], TokenType::Control);
}

TEST_F(TokenizerJson, NamesWhatItDoesNotHave) {
  refuses_byte_level("model is missing", [](Json& j) { j.erase("model"); });
  refuses_byte_level("\"WordPiece\" is not supported", [](Json& j) { j["model"]["type"] = "WordPiece"; });
  refuses_byte_level("vocab is not a list", [](Json& j) {
    j["model"] = {{"type", "Unigram"}, {"vocab", "a"}};
  });
  refuses_byte_level("dropout", [](Json& j) { j["model"]["dropout"] = 0.1; });
  refuses_byte_level("unk_token", [](Json& j) { j["model"]["unk_token"] = "<nothing>"; });
  refuses_byte_level("surprise is not a known setting of BPE", [](Json& j) { j["model"]["surprise"] = 1; });
  refuses_byte_level("\"BertNormalizer\" is not supported", [](Json& j) {
    j["normalizer"] = {{"type", "Sequence"},
                       {"normalizers", {Json{{"type", "NFC"}}, Json{{"type", "BertNormalizer"}}}}};
  });
  refuses_byte_level("strip_middle is not a known setting", [](Json& j) {
    j["normalizer"] = {{"type", "Strip"}, {"strip_middle", true}};
  });
  refuses_byte_level("behavior \"Sometimes\"",
                     [](Json& j) { j["pre_tokenizer"]["pretokenizers"][0]["behavior"] = "Sometimes"; });
  refuses_byte_level("\"UnicodeScripts\" is not supported", [](Json& j) {
    j["pre_tokenizer"] = {{"type", "UnicodeScripts"}};
  });
  refuses_byte_level("prepend_scheme \"last\"", [](Json& j) {
    j["pre_tokenizer"] = {{"type", "Metaspace"}, {"prepend_scheme", "last"}};
  });
  refuses_byte_level("\"CTC\" is not supported", [](Json& j) { j["decoder"] = {{"type", "CTC"}}; });
  refuses_byte_level("start is not from 0", [](Json& j) {
    j["decoder"] = {{"type", "Strip"}, {"content", " "}, {"start", -1}, {"stop", 0}};
  });
  refuses_byte_level("cls is not a pair", [](Json& j) {
    j["post_processor"] = {{"type", "BertProcessing"}};
  });
  refuses_byte_level("\"Other\" is not supported", [](Json& j) {
    j["post_processor"] = {{"type", "Other"}};
  });
}

TEST_F(TokenizerJson, RefusesBadTables) {
  refuses_byte_level("vocab is missing", [](Json& j) { j["model"].erase("vocab"); });
  refuses_byte_level("vocab is missing or empty", [](Json& j) { j["model"]["vocab"] = Json::object(); });
  refuses_byte_level("vocab is not an object", [](Json& j) { j["model"]["vocab"] = Json::array(); });
  for (const Json& id :
       {Json(-1), Json(1 << 21), Json(INT64_MAX), Json(UINT64_MAX), Json("1"), Json(1.0), Json()}) {
    refuses_byte_level("vocab holds an id", [&](Json& j) { j["model"]["vocab"]["zz"] = id; });
    refuses_byte_level("id holds an id", [&](Json& j) { j["added_tokens"][0]["id"] = id; });
  }
  refuses_byte_level("holds id 0 twice", [](Json& j) { j["model"]["vocab"]["zz"] = 0; });
  refuses_byte_level("merges is missing", [](Json& j) { j["model"].erase("merges"); });
  refuses_byte_level("merges is not a list", [](Json& j) { j["model"]["merges"] = "a b"; });
  for (const Json& merge :
       {Json("ab"), Json("a b c"), Json(1), Json({"a"}), Json({"a", 1}), Json({"a", "b", "c"})}) {
    refuses_byte_level("not a pair", [&](Json& j) { j["model"]["merges"][0] = merge; });
  }
  refuses_byte_level("not made of pieces", [](Json& j) { j["model"]["merges"][0] = {"a", "zz"}; });
  refuses_byte_level("not made of pieces", [](Json& j) { j["model"]["merges"][0] = {"h", "h"}; });
  refuses_byte_level("added_tokens is not a list", [](Json& j) { j["added_tokens"] = 1; });
  refuses_byte_level("added_tokens holds", [](Json& j) { j["added_tokens"][0] = 1; });
  refuses_byte_level("content is missing", [](Json& j) { j["added_tokens"][0].erase("content"); });
  refuses_byte_level("content is empty", [](Json& j) { j["added_tokens"][0]["content"] = ""; });
  refuses_byte_level("special is not true or false",
                     [](Json& j) { j["added_tokens"][0]["special"] = "yes"; });
  refuses_byte_level("is that of another piece", [](Json& j) { j["added_tokens"][0]["id"] = 0; });
  const auto post = [&](std::string_view part, const Json& single) {
    refuses_byte_level(part, [&](Json& j) {
      j["post_processor"] = {{"type", "TemplateProcessing"}, {"single", single}};
    });
  };
  const Json text{{"Sequence", {{"id", "A"}}}};
  const Json bos{{"SpecialToken", {{"id", "<|begin_of_text|>"}}}};
  post("single is missing", nullptr);
  post("single holds", {1});
  post("more than one token", {bos, bos, text});
  post("writes the text twice", {text, text});
  post("does not write the text", Json::array({bos}));
  post("is not a piece", {Json{{"SpecialToken", {{"id", "<nothing>"}}}}, text});
  post("id is missing", {Json{{"SpecialToken", Json::object()}}, text});
  refuses_byte_level("processors is missing", [](Json& j) { j["post_processor"] = {{"type", "Sequence"}}; });
}

}  // namespace
}  // namespace thinkey
