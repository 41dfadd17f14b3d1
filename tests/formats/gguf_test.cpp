// Reading well-formed GGUF files.
#include "formats/gguf.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>

#include "formats/format_test_util.h"
#include "formats/gguf_builder.h"
#include "formats/pre_tokenizer_table.h"

namespace thinkey {
namespace {

using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using namespace thinkey::testing;  // NOLINT(google-build-using-namespace)

TEST(Gguf, SentencePieceModel) {
  const auto model = open_model_file(fixture("spm.gguf"));
  const auto& wanted = expected()["spm"];
  const ModelSpec h = read_spec(*model);
  expect_dimensions(h, wanted["dims"]);
  EXPECT_EQ(h.architecture, "llama");
  EXPECT_EQ(h.name, "tiny SentencePiece");
  EXPECT_EQ(h.context_length, 128);
  EXPECT_EQ(h.heads().sliding_window, 64U);
  EXPECT_FLOAT_EQ(h.epsilon, 1e-6F);
  EXPECT_DOUBLE_EQ(h.ropes[0].theta, 5000.0);
  EXPECT_EQ(h.ropes[0].pairs, RopePairs::Interleaved);
  EXPECT_EQ(h.ropes[0].scaling, "linear");
  ASSERT_THAT(h.ropes[0].inverse_frequencies, SizeIs(4));
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_FLOAT_EQ(h.ropes[0].inverse_frequencies[i],
                    static_cast<float>(std::pow(5000.0, -static_cast<double>(i) / 4) / 2));
  }
  EXPECT_FALSE(h.tied_output);
  expect_tensors(*model, wanted["tensors"]);
  EXPECT_EQ(model->find("blk.2.attn_q.weight"), nullptr);
  EXPECT_EQ(model->container(), "GGUF v3");
  EXPECT_EQ(model->file_bytes(), std::filesystem::file_size(fixture("spm.gguf")));
}

TEST(Gguf, SentencePieceTokenizer) {
  const TokenizerData data = read_gguf_vocabulary(fixture("spm.gguf"));
  const auto& wanted = expected()["spm"];
  EXPECT_EQ(data.model, TokenizerModel::ScoredPairs);
  EXPECT_EQ(data.tokens, wanted["tokens"].get<std::vector<std::string>>());
  EXPECT_EQ(data.scores, wanted["scores"].get<std::vector<double>>());
  EXPECT_EQ(type_numbers(data), wanted["types"].get<std::vector<int>>());
  EXPECT_THAT(data.merges, IsEmpty());
  EXPECT_EQ(data.bos, 1);
  EXPECT_EQ(data.eos, 2);
  EXPECT_EQ(data.unknown, 0);
  EXPECT_TRUE(data.add_bos);
  EXPECT_FALSE(data.add_eos);
  EXPECT_FALSE(data.restarts_after_added);                  // no prefix
  EXPECT_THAT(data.end_of_generation, ElementsAre(2, 22));  // </s> and <|im_end|>
  EXPECT_EQ(data.tokens[22], "<|im_end|>");
  EXPECT_EQ(data.chat_template, wanted["chat_template"]);
}

TEST(Gguf, BytePairModelWithTiedOutputAndFrequencyFactors) {
  const auto model = open_model_file(fixture("bpe.gguf"));
  const auto& wanted = expected()["bpe"];
  const ModelSpec h = read_spec(*model);
  expect_dimensions(h, wanted["dims"]);
  EXPECT_TRUE(h.tied_output);
  EXPECT_EQ(h.heads().sliding_window, 0U);
  EXPECT_EQ(h.ropes[0].scaling, "llama3");
  const auto factors = wanted["factors"].get<std::vector<double>>();
  ASSERT_EQ(h.ropes[0].inverse_frequencies.size(), factors.size());
  for (std::size_t i = 0; i < factors.size(); ++i) {
    EXPECT_FLOAT_EQ(h.ropes[0].inverse_frequencies[i],
                    static_cast<float>(std::pow(500000.0, -static_cast<double>(i) / 8) / factors[i]));
  }
  expect_tensors(*model, wanted["tensors"]);

  const TokenizerData& data = model->tokenizer();
  EXPECT_EQ(data.model, TokenizerModel::BytePairs);
  EXPECT_EQ(data.pre, "llama-bpe");
  EXPECT_EQ(data.tokens, wanted["tokens"].get<std::vector<std::string>>());
  EXPECT_EQ(type_numbers(data), wanted["types"].get<std::vector<int>>());
  ASSERT_EQ(data.merges.size(), wanted["merges"].size());
  for (std::size_t i = 0; i < data.merges.size(); ++i) {
    EXPECT_EQ(data.merges[i].first + " " + data.merges[i].second, wanted["merges"][i]);
  }
  EXPECT_TRUE(data.add_bos);  // by default for this pre-tokenizer
  EXPECT_TRUE(data.ignore_merges);
  EXPECT_EQ(data.bos, 18);
  EXPECT_THAT(data.end_of_generation, ElementsAre(19, 20));
}

TEST(Gguf, EveryTensorType) {
  const auto model = open_model_file(fixture("types.gguf"));
  expect_dimensions(read_spec(*model), expected()["types"]["dims"]);
  expect_tensors(*model, expected()["types"]["tensors"]);
  std::vector<TensorType> seen;
  for (const Tensor& tensor : model->tensors()) seen.push_back(tensor.type);
  for (const TensorType type :
       {TensorType::F32, TensorType::BF16, TensorType::Q8_0, TensorType::Q4_0, TensorType::Q4_1,
        TensorType::Q5_0, TensorType::Q5_1, TensorType::Q4_K, TensorType::Q5_K, TensorType::Q6_K}) {
    EXPECT_NE(std::find(seen.begin(), seen.end(), type), seen.end()) << traits(type).name;
  }
  EXPECT_THAT(model->tokenizer().tokens, IsEmpty());
  EXPECT_EQ(read_spec(*model).ropes[0].scaling, "none");
}

TEST(Gguf, Version2) {
  std::string bytes = read_file(fixture("spm.gguf"));
  bytes[4] = 2;
  const TemporaryDirectory directory;
  write_file(directory / "v2.gguf", bytes);
  const auto model = open_model_file(directory / "v2.gguf");
  EXPECT_EQ(model->container(), "GGUF v2");
  expect_tensors(*model, expected()["spm"]["tensors"]);
}

TEST(Gguf, AnyValueTypeIsReadAndPrinted) {
  GgufBuilder file = tiny_gguf();
  file.set("x.u8", gguf_scalar(GgufType::U8, std::uint8_t{200}));
  file.set("x.i8", gguf_scalar(GgufType::I8, std::int8_t{-5}));
  file.set("x.u16", gguf_scalar(GgufType::U16, std::uint16_t{65535}));
  file.set("x.i16", gguf_scalar(GgufType::I16, std::int16_t{-300}));
  file.set("x.i32", gguf_scalar(GgufType::I32, std::int32_t{-70000}));
  file.set("x.u64", gguf_scalar(GgufType::U64, UINT64_MAX));
  file.set("x.i64", gguf_scalar(GgufType::I64, std::int64_t{-1}));
  file.set("x.f64", gguf_scalar(GgufType::F64, 0.1));
  file.set("x.bool", gguf_scalar(GgufType::Bool, std::uint8_t{1}));
  file.set("x.text", gguf_text("two\nlines \x01\xFF"));
  file.set("x.long", gguf_text(std::string(5000, 'a')));
  std::string inner;
  for (int i = 0; i < 2; ++i) inner += gguf_array_body(GgufType::U16, 2, std::string("\1\0\2\0", 4));
  file.set("x.nested", gguf_array(GgufType::Array, 2, inner));
  file.set("x.empty", gguf_array(GgufType::String, 0, ""));
  file.set("x.many", gguf_array(GgufType::U8, 100, std::string(100, '\7')));
  file.set("x.texts", gguf_texts({"a", "b"}));

  const TemporaryDirectory directory;
  write_file(directory / "all.gguf", file.build());
  const auto model = open_model_file(directory / "all.gguf");
  const std::map<std::string, std::string> shown(model->metadata().begin(), model->metadata().end());
  EXPECT_EQ(shown.at("x.u8"), "200");
  EXPECT_EQ(shown.at("x.i8"), "-5");
  EXPECT_EQ(shown.at("x.u16"), "65535");
  EXPECT_EQ(shown.at("x.i16"), "-300");
  EXPECT_EQ(shown.at("x.i32"), "-70000");
  EXPECT_EQ(shown.at("x.u64"), "18446744073709551615");
  EXPECT_EQ(shown.at("x.i64"), "-1");
  EXPECT_EQ(shown.at("x.f64"), "0.1");
  EXPECT_EQ(shown.at("x.bool"), "true");
  EXPECT_EQ(shown.at("x.text"), "two\\nlines \\x01\\xff");
  EXPECT_LT(shown.at("x.long").size(), 300U);
  EXPECT_EQ(shown.at("x.nested"), "[2 arrays]");
  EXPECT_EQ(shown.at("x.empty"), "[]");
  EXPECT_EQ(shown.at("x.many"), "[7, 7, 7, 7, 7, 7, 7, 7, ... 100 in all]");
  EXPECT_EQ(shown.at("x.texts"), "[\"a\", \"b\"]");
  EXPECT_EQ(model->metadata().front().first, "general.architecture");
}

TEST(Gguf, DefaultsAndOldKeys) {
  GgufBuilder file = tiny_gguf();
  file.erase("llama.attention.head_count_kv");
  file.resize("blk.0.attn_k.weight", {16, 16});
  file.resize("blk.0.attn_v.weight", {16, 16});
  file.set("llama.rope.scale_linear", gguf_scalar(GgufType::F32, 4.0F));
  file.set("llama.block_count", gguf_scalar(GgufType::U64, std::uint64_t{1}));
  file.set("llama.feed_forward_length", gguf_array(GgufType::I32, 1, std::string("\x18\0\0\0", 4)));
  const TemporaryDirectory directory;
  write_file(directory / "old.gguf", file.build());
  const auto model = open_model_file(directory / "old.gguf");
  const ModelSpec h = read_spec(*model);
  EXPECT_EQ(h.heads().kv_heads, 2U);
  EXPECT_EQ(h.layers[0].feed_forward.width, 24U);
  EXPECT_DOUBLE_EQ(h.ropes[0].theta, 10000.0);
  EXPECT_FLOAT_EQ(h.ropes[0].inverse_frequencies[0], 0.25F);
  EXPECT_EQ(h.ropes[0].scaling, "linear");
}

TEST(Gguf, MistralArchitecture) {
  GgufBuilder file = tiny_gguf("mistral");
  const TemporaryDirectory directory;
  write_file(directory / "mistral.gguf", file.build());
  EXPECT_EQ(open_as_model(directory / "mistral.gguf").spec.architecture, "mistral");
}

TEST(GgufVocabulary, DefaultsOfTheTwoFamilies) {
  const TemporaryDirectory directory;
  const auto path = directory / "vocabulary.gguf";
  GgufBuilder spm = tiny_vocabulary("llama", {"<unk>", "<s>", "</s>", "<0x0A>", "a"});
  spm.set("tokenizer.ggml.scores", gguf_array(GgufType::F32, 5, std::string(20, '\0')));
  write_file(path, spm.build());
  TokenizerData data = read_gguf_vocabulary(path);
  EXPECT_THAT(type_numbers(data), ElementsAre(2, 3, 3, 6, 1));
  EXPECT_TRUE(data.add_bos);
  EXPECT_TRUE(data.restarts_after_added);  // a prefix
  EXPECT_THAT(data.end_of_generation, ElementsAre(2));

  GgufBuilder bpe = tiny_vocabulary("gpt2", {"a", "b", "ab", "<|im_end|>", "<e>", "<m>"});
  bpe.set("tokenizer.ggml.merges", gguf_texts({"a b"}));
  bpe.set("tokenizer.ggml.eot_token_id", gguf_scalar(GgufType::U32, std::uint32_t{4}));
  bpe.set("tokenizer.ggml.eom_token_id", gguf_scalar(GgufType::U32, std::uint32_t{5}));
  bpe.set("tokenizer.ggml.bos_token_id", gguf_scalar(GgufType::U32, std::uint32_t{0xFFFFFFFF}));
  bpe.set("tokenizer.ggml.add_bos_token", gguf_scalar(GgufType::Bool, std::uint8_t{1}));
  write_file(path, bpe.build());
  data = read_gguf_vocabulary(path);
  EXPECT_EQ(data.pre, "default");
  EXPECT_EQ(data.bos, -1);
  EXPECT_EQ(data.eos, -1);
  EXPECT_FALSE(data.add_bos);  // there is none to add
  EXPECT_FALSE(data.ignore_merges);
  EXPECT_THAT(data.end_of_generation, ElementsAre(3, 4, 5));
  EXPECT_EQ(data.types[3], TokenType::Control);  // although the file calls it normal

  bpe.set("tokenizer.ggml.pre", gguf_text("llama-v3"));
  write_file(path, bpe.build());
  EXPECT_EQ(read_gguf_vocabulary(path).splits[0].pattern, kLlama3Words);
}

TEST(GgufVocabulary, PublicVocabularies) {
  const std::filesystem::path directory = std::filesystem::path(THINKEY_SHARED) / "tokenizers";
  if (!std::filesystem::exists(directory / "gpt-2.gguf")) GTEST_SKIP() << "no shared files";
  const TokenizerData gpt2 = read_gguf_vocabulary(directory / "gpt-2.gguf");
  EXPECT_EQ(gpt2.model, TokenizerModel::BytePairs);
  EXPECT_EQ(gpt2.pre, "gpt-2");
  EXPECT_THAT(gpt2.tokens, SizeIs(50257));
  EXPECT_THAT(gpt2.merges, SizeIs(50000));
  EXPECT_THAT(gpt2.end_of_generation, ElementsAre(50256));
  EXPECT_FALSE(gpt2.add_bos);

  const TokenizerData llama = read_gguf_vocabulary(directory / "llama-spm.gguf");
  EXPECT_EQ(llama.model, TokenizerModel::ScoredPairs);
  EXPECT_THAT(llama.tokens, SizeIs(32000));
  EXPECT_THAT(llama.scores, SizeIs(32000));
  EXPECT_EQ(llama.tokens[259], "\u2581\u2581");
  EXPECT_TRUE(llama.add_bos);
  EXPECT_THAT(llama.end_of_generation, ElementsAre(2));

  expect_data_error(directory / "llama-spm.gguf", "only a vocabulary",
                    [&] { (void)open_as_model(directory / "llama-spm.gguf"); });
}

}  // namespace
}  // namespace thinkey
