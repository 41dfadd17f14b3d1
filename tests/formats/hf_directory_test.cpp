// Reading well-formed Hugging Face directories.
#include "formats/hf_directory.h"

#include <gmock/gmock.h>

#include <map>

#include "formats/format_test_util.h"
#include "formats/pre_tokenizer_table.h"
#include "formats/safetensors.h"

namespace thinkey {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::SizeIs;
using namespace thinkey::testing;  // NOLINT(google-build-using-namespace)
using Json = nlohmann::json;

void expect_frequencies(const ModelSpec& spec, const Json& wanted) {
  const std::vector<float>& frequencies = spec.ropes.at(0).inverse_frequencies;
  ASSERT_EQ(frequencies.size(), wanted.size());
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    EXPECT_NEAR(frequencies[i] / wanted[i].get<double>(), 1.0, 1e-6) << i;
  }
}

void expect_checkpoint(const ModelFile& model, const Json& tensors, TensorType type) {
  EXPECT_EQ(model.tensors().size(), tensors.size());
  for (const auto& [name, wanted] : tensors.items()) {
    SCOPED_TRACE(name);
    const Tensor* tensor = model.find(name);
    ASSERT_NE(tensor, nullptr);
    EXPECT_EQ(tensor->type, type);
    const auto shape = wanted["shape"].get<std::vector<std::int64_t>>();
    EXPECT_EQ(tensor->rows, shape.size() == 2 ? shape[0] : 1);
    EXPECT_EQ(tensor->cols, shape.back());
    EXPECT_EQ(fnv1a({tensor->data, tensor->bytes}), wanted["fnv1a"]);
  }
}

TEST(HfDirectory, LlamaInOneShard) {
  const auto model = open_model_file(fixture("hf_one"));
  const auto& wanted = expected()["hf_one"];
  const ModelSpec h = read_spec(*model);
  EXPECT_EQ(h.architecture, "llama");
  EXPECT_EQ(h.vocabulary, 48);
  EXPECT_EQ(h.layers.size(), 2U);
  EXPECT_EQ(h.width, 32);
  EXPECT_EQ(h.heads().query_heads, 4U);
  EXPECT_EQ(h.heads().kv_heads, 2U);
  EXPECT_EQ(h.heads().head_dim, 16U);  // not width / heads
  EXPECT_EQ(h.layers[0].feed_forward.width, 40U);
  EXPECT_EQ(h.context_length, 4096);
  EXPECT_EQ(h.heads().sliding_window, 0U);
  EXPECT_FLOAT_EQ(h.epsilon, 1e-5F);
  EXPECT_TRUE(h.tied_output);
  EXPECT_EQ(h.ropes[0].pairs, RopePairs::HalfSplit);
  EXPECT_EQ(h.ropes[0].scaling, "llama3");
  EXPECT_DOUBLE_EQ(h.ropes[0].theta, 500000.0);
  expect_frequencies(h, wanted["rope"]);
  expect_checkpoint(*model, wanted["tensors"], TensorType::BF16);
  EXPECT_EQ(model->container(), "Hugging Face, 1 shard");
  EXPECT_EQ(model->file_bytes(), std::filesystem::file_size(fixture("hf_one/model.safetensors")));
  const std::map<std::string, std::string> shown(model->metadata().begin(), model->metadata().end());
  EXPECT_EQ(shown.at("hidden_size"), "32");
  EXPECT_EQ(shown.at("model_type"), "llama");
}

TEST(HfDirectory, SentencePieceTokenizer) {
  const auto model = open_model_file(fixture("hf_one"));
  const auto& wanted = expected()["hf_one"];
  const TokenizerData& data = model->tokenizer();
  EXPECT_EQ(data.model, TokenizerModel::BytePairs);
  ASSERT_THAT(data.tokens, SizeIs(48));  // padded to the embedding
  const auto pieces = wanted["tokens"].get<std::vector<std::string>>();
  EXPECT_TRUE(std::equal(pieces.begin(), pieces.end(), data.tokens.begin()));
  EXPECT_EQ(data.tokens[47], "[PAD47]");
  std::vector<int> types{2, 3, 3, 6, 6};
  types.resize(22, 1);
  types.insert(types.end(), {3, 4});
  types.resize(48, 5);
  EXPECT_EQ(type_numbers(data), types);
  EXPECT_THAT(data.scores, IsEmpty());
  EXPECT_EQ(data.merges, (wanted["merges"].get<std::vector<std::pair<std::string, std::string>>>()));
  EXPECT_THAT(data.normalizers, SizeIs(2));  // Prepend and Replace
  EXPECT_TRUE(data.byte_fallback);
  EXPECT_TRUE(data.add_bos);
  EXPECT_FALSE(data.add_eos);
  EXPECT_EQ(data.bos, 1);
  EXPECT_EQ(data.eos, 2);
  EXPECT_EQ(data.unknown, 0);
  EXPECT_THAT(data.end_of_generation, ElementsAre(2, 5, 22));  // 5 from generation_config.json
  EXPECT_EQ(data.chat_template, wanted["chat_template"]);      // the one called "default"
}

TEST(HfDirectory, MistralInShards) {
  const auto model = open_model_file(fixture("hf_two"));
  const auto& wanted = expected()["hf_two"];
  const ModelSpec h = read_spec(*model);
  EXPECT_EQ(h.architecture, "mistral");
  EXPECT_EQ(h.heads().kv_heads, 1U);
  EXPECT_EQ(h.heads().head_dim, 16U);
  EXPECT_EQ(h.heads().sliding_window, 96U);
  EXPECT_FALSE(h.tied_output);
  EXPECT_EQ(h.ropes[0].scaling, "none");
  expect_frequencies(h, wanted["rope"]);
  expect_checkpoint(*model, wanted["tensors"], TensorType::F32);
  EXPECT_EQ(model->container(), "Hugging Face, " + std::to_string(wanted["shards"].get<int>()) + " shards");
  EXPECT_GT(wanted["shards"], 1);

  const TokenizerData& data = model->tokenizer();
  EXPECT_EQ(data.model, TokenizerModel::BytePairs);
  EXPECT_EQ(data.splits[0].pattern, kLlama3Words);
  EXPECT_TRUE(data.ignore_merges);
  EXPECT_THAT(data.tokens, SizeIs(32));
  EXPECT_EQ(data.bos, 18);
  EXPECT_EQ(data.eos, 19);
  EXPECT_TRUE(data.add_bos);  // from the post-processor
  EXPECT_THAT(data.end_of_generation, ElementsAre(19, 20));
  EXPECT_EQ(data.types[20], TokenType::Control);
  EXPECT_EQ(data.types[21], TokenType::UserDefined);
  EXPECT_EQ(data.chat_template, read_file(fixture("hf_two/chat_template.jinja")));
}

// A copy of a fixture that a test may change.
class HfVariant : public ::testing::Test {
 protected:
  void copy(const std::string& name) {
    std::filesystem::copy(
        fixture(name), directory_.path(),
        std::filesystem::copy_options::overwrite_existing | std::filesystem::copy_options::recursive);
  }
  void change_config(const std::function<void(Json&)>& change) {
    Json config = Json::parse(read_file(directory_ / "config.json"));
    change(config);
    write_file(directory_ / "config.json", config.dump());
  }
  TemporaryDirectory directory_;
};

TEST_F(HfVariant, WithoutTokenizerOnlyIdsRemain) {
  copy("hf_one");
  std::filesystem::remove(directory_ / "tokenizer.json");
  change_config([](Json& config) { config["eos_token_id"] = {2, 4000}; });  // 4000: no such token
  const auto model = open_model_file(directory_.path());
  EXPECT_THAT(model->tokenizer().tokens, IsEmpty());
  EXPECT_THAT(model->tokenizer().end_of_generation, ElementsAre(2, 5));
  EXPECT_EQ(read_spec(*model).vocabulary, 48);
}

TEST_F(HfVariant, TransformersDefaults) {
  copy("hf_two");
  change_config([](Json& config) {
    for (const char* key : {"sliding_window", "rms_norm_eps", "rope_parameters", "max_position_embeddings",
                            "head_dim", "tie_word_embeddings", "hidden_act", "dtype"}) {
      config.erase(key);
    }
  });
  ModelSpec h = open_as_model(directory_.path()).spec;
  EXPECT_EQ(h.heads().sliding_window, 4096U);
  EXPECT_FLOAT_EQ(h.epsilon, 1e-6F);
  EXPECT_DOUBLE_EQ(h.ropes[0].theta, 10000.0);
  EXPECT_EQ(h.context_length, 131072);
  EXPECT_EQ(h.heads().head_dim, 16U);
  EXPECT_FALSE(h.tied_output);  // lm_head is there
  change_config([](Json& config) { config["sliding_window"] = nullptr; });
  EXPECT_EQ(open_as_model(directory_.path()).spec.heads().sliding_window, 0U);
}

TEST_F(HfVariant, TiedModelsNeedNoOutputMatrix) {
  copy("hf_one");
  change_config([](Json& config) { config.erase("tie_word_embeddings"); });
  EXPECT_TRUE(open_as_model(directory_.path()).spec.tied_output);
  // The same matrix a second time is harmless.
  const SafetensorsFile file(fixture("hf_one/model.safetensors"));
  std::vector<SafetensorsTensor> tensors = file.tensors();
  SafetensorsTensor head = file.at("model.embed_tokens.weight");
  head.name = "lm_head.weight";
  tensors.push_back(head);
  write_safetensors(directory_ / "model.safetensors", tensors);
  change_config([](Json& config) { config["tie_word_embeddings"] = true; });
  EXPECT_TRUE(open_as_model(directory_.path()).spec.tied_output);
}

// The format promises no alignment: a header of odd length must not give misaligned floats.
TEST_F(HfVariant, MisalignedTensorsAreCopied) {
  copy("hf_one");
  std::string bytes = read_file(directory_ / "model.safetensors");
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data(), 8);
  bytes.insert(8 + length, " ");
  ++length;
  std::memcpy(bytes.data(), &length, 8);
  write_file(directory_ / "model.safetensors", bytes);
  const auto model = open_model_file(directory_.path());
  expect_checkpoint(*model, expected()["hf_one"]["tensors"], TensorType::BF16);
  for (const Tensor& tensor : model->tensors()) {
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(tensor.data) % 2, 0U);
  }
}

TEST_F(HfVariant, TokenizerConfigOverrules) {
  copy("hf_two");
  write_file(
      directory_ / "tokenizer_config.json",
      R"({"add_bos_token": false, "eos_token": {"content": "<|eot_id|>"}, "chat_template": "unused"})");
  TokenizerData data = open_model_file(directory_.path())->tokenizer();
  EXPECT_FALSE(data.add_bos);
  EXPECT_EQ(data.eos, 20);
  EXPECT_EQ(data.chat_template, read_file(fixture("hf_two/chat_template.jinja")));
  std::filesystem::remove(directory_ / "chat_template.jinja");
  EXPECT_EQ(open_model_file(directory_.path())->tokenizer().chat_template, "unused");
}

TEST_F(HfVariant, NamedChatTemplatesAndSpecialTokens) {
  copy("hf_two");
  write_file(directory_ / "tokenizer_config.json",
             R"({"pad_token": {"content": "<pad>"}, "chat_template": [{"name": "default", "template": "D"},
                 {"name": "tool_use", "template": "T"}]})");
  // Files win over the configuration, as in transformers.
  std::filesystem::create_directory(directory_ / "additional_chat_templates");
  write_file(directory_ / "additional_chat_templates" / "rag.jinja", "R");
  const TokenizerData files = open_model_file(directory_.path())->tokenizer();
  EXPECT_EQ(files.chat_template, read_file(fixture("hf_two/chat_template.jinja")));
  EXPECT_THAT(files.chat_templates, ElementsAre(Pair("rag", "R")));
  EXPECT_THAT(files.special_tokens, Contains(Pair("pad_token", "<pad>")));
  std::filesystem::remove(directory_ / "chat_template.jinja");
  std::filesystem::remove_all(directory_ / "additional_chat_templates");
  const TokenizerData config = open_model_file(directory_.path())->tokenizer();
  EXPECT_EQ(config.chat_template, "D");
  EXPECT_THAT(config.chat_templates, ElementsAre(Pair("tool_use", "T")));
}

}  // namespace
}  // namespace thinkey
