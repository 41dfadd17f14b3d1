// Reading well-formed Hugging Face directories.
#include "formats/hf_directory.h"

#include <gmock/gmock.h>

#include <map>

#include "formats/format_test_util.h"
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

void expect_frequencies(const Hyperparameters& h, const Json& wanted) {
  ASSERT_EQ(h.rope_inverse_frequencies.size(), wanted.size());
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    EXPECT_NEAR(h.rope_inverse_frequencies[i] / wanted[i].get<double>(), 1.0, 1e-6) << i;
  }
}

// GGUF names of the layer tensors by the checkpoint's.
std::map<std::string, std::string> names(std::int64_t layers) {
  std::map<std::string, std::string> out{{"model.embed_tokens.weight", "token_embd.weight"},
                                         {"model.norm.weight", "output_norm.weight"},
                                         {"lm_head.weight", "output.weight"}};
  for (std::int64_t i = 0; i < layers; ++i) {
    const std::string from = "model.layers." + std::to_string(i) + ".";
    const std::string to = "blk." + std::to_string(i) + ".";
    out[from + "input_layernorm.weight"] = to + "attn_norm.weight";
    out[from + "post_attention_layernorm.weight"] = to + "ffn_norm.weight";
    out[from + "self_attn.q_proj.weight"] = to + "attn_q.weight";
    out[from + "self_attn.k_proj.weight"] = to + "attn_k.weight";
    out[from + "self_attn.v_proj.weight"] = to + "attn_v.weight";
    out[from + "self_attn.o_proj.weight"] = to + "attn_output.weight";
    out[from + "mlp.gate_proj.weight"] = to + "ffn_gate.weight";
    out[from + "mlp.up_proj.weight"] = to + "ffn_up.weight";
    out[from + "mlp.down_proj.weight"] = to + "ffn_down.weight";
  }
  return out;
}

void expect_checkpoint(const ModelFile& model, const Json& tensors, TensorType type) {
  const auto gguf = names(model.hyperparameters().layers);
  EXPECT_EQ(model.tensors().size(), tensors.size());
  for (const auto& [name, wanted] : tensors.items()) {
    SCOPED_TRACE(name);
    const Tensor* tensor = model.find(gguf.at(name));
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
  const Hyperparameters& h = model->hyperparameters();
  EXPECT_EQ(h.architecture, "llama");
  EXPECT_EQ(h.vocabulary, 48);
  EXPECT_EQ(h.layers, 2);
  EXPECT_EQ(h.width, 32);
  EXPECT_EQ(h.query_heads, 4);
  EXPECT_EQ(h.kv_heads, 2);
  EXPECT_EQ(h.head_dim, 16);  // not width / heads
  EXPECT_EQ(h.ffn_width, 40);
  EXPECT_EQ(h.context_length, 4096);
  EXPECT_EQ(h.sliding_window, 0);
  EXPECT_FLOAT_EQ(h.rms_epsilon, 1e-5F);
  EXPECT_TRUE(h.tied_output);
  EXPECT_EQ(h.rope_layout, RopeLayout::HalfSplit);
  EXPECT_EQ(h.rope_scaling, "llama3");
  EXPECT_FLOAT_EQ(h.rope_theta, 500000.0F);
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
  EXPECT_EQ(data.kind, TokenizerKind::SentencePiece);
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
  EXPECT_TRUE(data.add_space_prefix);
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
  const Hyperparameters& h = model->hyperparameters();
  EXPECT_EQ(h.architecture, "mistral");
  EXPECT_EQ(h.kv_heads, 1);
  EXPECT_EQ(h.head_dim, 16);
  EXPECT_EQ(h.sliding_window, 96);
  EXPECT_FALSE(h.tied_output);
  EXPECT_EQ(h.rope_scaling, "none");
  expect_frequencies(h, wanted["rope"]);
  expect_checkpoint(*model, wanted["tensors"], TensorType::F32);
  EXPECT_EQ(model->container(), "Hugging Face, " + std::to_string(wanted["shards"].get<int>()) + " shards");
  EXPECT_GT(wanted["shards"], 1);

  const TokenizerData& data = model->tokenizer();
  EXPECT_EQ(data.kind, TokenizerKind::BytePairs);
  EXPECT_EQ(data.pre, "llama-bpe");
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
  EXPECT_EQ(model->hyperparameters().vocabulary, 48);
}

TEST_F(HfVariant, TransformersDefaults) {
  copy("hf_two");
  change_config([](Json& config) {
    for (const char* key : {"sliding_window", "rms_norm_eps", "rope_parameters", "max_position_embeddings",
                            "head_dim", "tie_word_embeddings", "hidden_act", "dtype"}) {
      config.erase(key);
    }
  });
  Hyperparameters h = open_model_file(directory_.path())->hyperparameters();
  EXPECT_EQ(h.sliding_window, 4096);
  EXPECT_FLOAT_EQ(h.rms_epsilon, 1e-6F);
  EXPECT_FLOAT_EQ(h.rope_theta, 10000.0F);
  EXPECT_EQ(h.context_length, 131072);
  EXPECT_EQ(h.head_dim, 16);
  EXPECT_FALSE(h.tied_output);  // lm_head is there
  change_config([](Json& config) { config["sliding_window"] = nullptr; });
  EXPECT_EQ(open_model_file(directory_.path())->hyperparameters().sliding_window, 0);
}

TEST_F(HfVariant, TiedModelsNeedNoOutputMatrix) {
  copy("hf_one");
  change_config([](Json& config) { config.erase("tie_word_embeddings"); });
  EXPECT_TRUE(open_model_file(directory_.path())->hyperparameters().tied_output);
  std::filesystem::remove(directory_ / "model.safetensors");  // or it would be taken for hf_two's shards
  copy("hf_two");
  change_config([](Json& config) { config["tie_word_embeddings"] = true; });
  const auto model = open_model_file(directory_.path());
  EXPECT_TRUE(model->hyperparameters().tied_output);
  EXPECT_EQ(model->find("output.weight"), nullptr);  // transformers ties over it
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
