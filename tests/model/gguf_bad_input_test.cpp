// Damaged and hostile GGUF files: each gives an Error(Data) with one line, or loads; none crashes.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "formats/format_test_util.h"
#include "formats/gguf.h"
#include "formats/gguf_builder.h"

namespace thinkey {
namespace {

using namespace thinkey::testing;  // NOLINT(google-build-using-namespace)

constexpr std::uint64_t kHuge = std::uint64_t{1} << 60U;

class GgufBadInput : public ::testing::Test {
 protected:
  // The tiny file after `change` must be refused with `part` in the message.
  void refuses(std::string_view part, const std::function<void(GgufBuilder&)>& change,
               const std::string& architecture = "llama") {
    SCOPED_TRACE(part);
    GgufBuilder file = tiny_gguf(architecture);
    change(file);
    refuses_bytes(part, file.build());
  }
  void refuses_bytes(std::string_view part, const std::string& bytes) {
    write_file(path_, bytes);
    expect_data_error(path_, part, [&] { (void)open_as_model(path_); });
  }
  void refuses_value(std::string_view part, const std::string& key, const std::string& value) {
    refuses(part, [&](GgufBuilder& file) { file.set(key, value); });
  }

  TemporaryDirectory directory_;
  std::filesystem::path path_ = directory_ / "bad.gguf";
};

TEST_F(GgufBadInput, TheTinyFileItselfOpens) {
  write_file(path_, tiny_gguf().build());
  EXPECT_EQ(open_model_file(path_)->tensors().size(), 12U);
}

TEST_F(GgufBadInput, EveryTruncation) {
  const std::string whole = tiny_gguf().build();
  write_file(path_, whole);
  for (std::size_t length = whole.size(); length-- > 0;) {
    std::filesystem::resize_file(path_, length);
    ASSERT_FALSE(loads_or_throws(path_, path_)) << "cut to " << length;
  }
}

TEST_F(GgufBadInput, TruncationOfAFixture) {
  write_file(path_, read_file(fixture("bpe.gguf")));
  for (std::size_t length = std::filesystem::file_size(path_) - 32; length > 16;
       length -= std::min<std::size_t>(length, 7)) {
    std::filesystem::resize_file(path_, length);
    ASSERT_FALSE(loads_or_throws(path_, path_)) << "cut to " << length;
  }
}

// Every single-bit error in the tiny file, and every third in the header of a richer one.
TEST_F(GgufBadInput, EveryFlippedBit) {
  std::size_t loaded = 0;
  std::size_t refused = 0;
  for (const bool tiny : {true, false}) {
    const std::string good = tiny ? tiny_gguf().build() : read_file(fixture("bpe.gguf"));
    write_file(path_, good);
    std::fstream file(path_, std::ios::binary | std::ios::in | std::ios::out);
    const std::size_t header = std::min<std::size_t>(good.size(), 2600);
    for (std::size_t bit = 0; bit < header * 8; bit += tiny ? 1 : 3) {
      const std::size_t at = bit / 8;
      const auto put = [&](char value) {
        file.seekp(static_cast<std::streamoff>(at));
        file.put(value);
        file.flush();
      };
      put(static_cast<char>(static_cast<unsigned char>(good[at]) ^ (1U << (bit % 8))));
      ++(loads_or_throws(path_, path_) ? loaded : refused);
      put(good[at]);
      ASSERT_FALSE(HasFailure()) << "byte " << at << " bit " << bit % 8;
    }
  }
  EXPECT_GT(loaded, 1000U);
  EXPECT_GT(refused, 1000U);
}

TEST_F(GgufBadInput, NotThisFormat) {
  refuses_bytes("not a GGUF file", "");
  refuses_bytes("not a GGUF file", "GGU");
  refuses_bytes("not a GGUF file", "ggml" + std::string(100, '\0'));
  refuses_bytes("cut off", "GGUF");
  refuses("version 1 ", [](auto& f) { f.version = 1; });
  refuses("version 4 ", [](auto& f) { f.version = 4; });
  refuses("version 0 ", [](auto& f) { f.version = 0; });
  refuses("big-endian", [](auto& f) { f.version = 0x03000000; });
  expect_data_error(directory_ / "absent.gguf", "no such file",
                    [&] { (void)open_as_model(directory_ / "absent.gguf"); });
  write_file(directory_ / "model.safetensors", "x");
  expect_data_error(directory_ / "model.safetensors", "give the directory",
                    [&] { (void)open_as_model(directory_ / "model.safetensors"); });
}

TEST_F(GgufBadInput, AbsurdCounts) {
  refuses("more than fit", [](auto& f) { f.more_tensors = kHuge; });
  refuses("more than fit", [](auto& f) { f.more_values = kHuge; });
  refuses("more than fit", [](auto& f) { f.more_values = std::numeric_limits<std::uint64_t>::max() / 2; });
  refuses("", [](auto& f) { f.more_tensors = 1; });
  refuses("", [](auto& f) { f.more_values = 1; });
  refuses_value("past the end", "x", gguf_array(GgufType::U8, kHuge, ""));
  refuses_value("too long", "x", gguf_array(GgufType::F64, kHuge * 4, ""));
  refuses_value("past the end", "x", gguf_array(GgufType::String, kHuge, ""));
  refuses_value("past the end", "x", raw(std::uint32_t{8}) + raw(kHuge));
  refuses_value("past the end", "x", raw(std::uint32_t{8}) + raw(std::numeric_limits<std::uint64_t>::max()));
  refuses("claims", [](auto& f) { f.set(std::string(70000, 'k'), gguf_u32(1)); });
  refuses("claims", [](auto& f) { f.add(std::string(300, 't'), {1}); });
  std::string nested = gguf_array_body(GgufType::U8, 1, "\1");
  for (int i = 0; i < 40; ++i) nested = gguf_array_body(GgufType::Array, 1, nested);
  refuses_value("nested too deeply", "x", raw(std::uint32_t{9}) + nested);
  refuses_value("unknown metadata type 13", "x", raw(std::uint32_t{13}) + raw(0));
  refuses_value("unknown metadata type", "x", gguf_array(static_cast<GgufType>(99), 1, "a"));
}

TEST_F(GgufBadInput, RepeatedKey) {
  refuses("general.architecture occurs twice", [](auto& f) { f.values.push_back(f.values.front()); });
}

TEST_F(GgufBadInput, Alignment) {
  for (const std::uint32_t alignment : {0U, 1U, 4U, 24U, 33U, 131072U, 0x80000000U}) {
    refuses_value("power of two", "general.alignment", gguf_u32(alignment));
  }
  refuses_value("general.alignment is not an integer", "general.alignment", gguf_text("32"));
}

TEST_F(GgufBadInput, TensorDirectory) {
  refuses("outside the file", [](auto& f) { f.tensor("output.weight").offset = kHuge; });
  refuses("outside the file", [](auto& f) { f.tensor("output.weight").offset += 64; });
  refuses("outside the file",
          [](auto& f) { f.tensor("output.weight").offset = std::numeric_limits<std::uint64_t>::max() - 31; });
  refuses("multiple of 32", [](auto& f) { f.tensor("blk.0.attn_q.weight").offset += 4; });
  refuses("overlap", [](auto& f) { f.tensor("blk.0.attn_q.weight").offset = 0; });
  refuses("outside the file", [](auto& f) { f.tensor("blk.0.attn_q.weight").extents = {kHuge, 16}; });
  refuses("outside the file", [](auto& f) {
    f.tensor("blk.0.attn_q.weight").extents = {std::uint64_t{1} << 32U, std::uint64_t{1} << 32U};
  });
  refuses("outside the file", [](auto& f) {
    f.tensor("token_embd.weight").extents = {16, std::numeric_limits<std::uint64_t>::max()};
  });
  refuses("zero extent", [](auto& f) { f.tensor("blk.0.attn_q.weight").extents = {16, 0}; });
  refuses("0 dimensions", [](auto& f) { f.tensor("blk.0.attn_q.weight").extents = {}; });
  refuses("5 dimensions", [](auto& f) { f.tensor("blk.0.attn_q.weight").extents = {16, 16, 1, 1, 1}; });
  refuses("has 2 x 8 rows", [](auto& f) { f.tensor("blk.0.attn_q.weight").extents = {16, 8, 2}; });
  refuses("two tensors are called", [](auto& f) { f.add("output.weight", {16, 5}); });
  refuses("type Q8_K", [](auto& f) { f.tensor("output.weight").type = 15; });
  refuses("type TQ1_0", [](auto& f) { f.tensor("output.weight").type = 34; });
  refuses("type NVFP4", [](auto& f) { f.tensor("output.weight").type = 40; });
  refuses("type Q1_0", [](auto& f) { f.tensor("output.weight").type = 41; });
  refuses("whole Q2_K blocks of 256", [](auto& f) { f.tensor("output.weight").type = 10; });
  refuses("unknown element type 4", [](auto& f) { f.tensor("output.weight").type = 4; });
  refuses("unknown element type 4000000000", [](auto& f) { f.tensor("output.weight").type = 4000000000U; });
  refuses("whole Q8_0 blocks", [](auto& f) { f.tensor("output.weight").type = 8; });
}

TEST_F(GgufBadInput, MissingAndForeignTensors) {
  const std::vector<std::string> names = [] {
    std::vector<std::string> out;
    for (const auto& t : tiny_gguf().tensors) out.push_back(t.name);
    return out;
  }();
  for (const std::string& name : names) {
    if (name != "output.weight") refuses("tensor " + name + " is missing", [&](auto& f) { f.remove(name); });
  }
  refuses("attn_k.bias is missing", [](auto& f) { f.add("blk.0.attn_q.bias", {16}); });
  refuses("(it is a bias)", [](auto& f) { f.add("blk.0.attn_k.bias", {8}); });
  refuses("is not part of a llama model", [](auto& f) { f.add("blk.0.ffn_gate_exps.weight", {16, 24, 2}); });
  refuses("is not part of a llama model", [](auto& f) { f.add("blk.0.ffn_gate_inp.weight", {16, 2}); });
  refuses("is not part of a llama model", [](auto& f) { f.add("blk.0.attn_q_norm.weight", {8}); });
  refuses("rope_factors_long.weight holds 0", [](auto& f) { f.add("rope_factors_long.weight", {4}); });
  for (const char* name :
       {"position_embd.weight", "blk.1.attn_q.weight", "blk.00.attn_q.weight", "blk..attn_q.weight",
        "blk.x.attn_q.weight", "blk.99999999999999999999.attn_q.weight", "blk.0", "", "a\nb\x1B"}) {
    refuses("is not part of a llama model", [&](auto& f) { f.add(name, {16, 16}); });
  }
}

TEST_F(GgufBadInput, ShapesThatDisagree) {
  for (const auto& tensor : tiny_gguf().tensors) {
    if (tensor.name == "token_embd.weight") continue;
    refuses("hyperparameters ask for", [&](auto& f) {
      auto extents = f.tensor(tensor.name).extents;
      extents.back() += 8;
      f.resize(tensor.name, extents);
    });
  }
  refuses("tokenizer has 5 tokens, the model's embedding 6", [](auto& f) {
    f.resize("token_embd.weight", {16, 6});
    f.resize("output.weight", {16, 6});
  });
  refuses("a vector of type Q8_0", [](auto& f) {
    f.set("llama.embedding_length", gguf_u32(32));
    f.set("llama.attention.key_length", gguf_u32(8));
    f.set("llama.attention.value_length", gguf_u32(8));
    for (auto& t : f.tensors) {
      if (t.extents[0] == 16) t.extents[0] = 32;
      if (t.name == "blk.0.attn_output.weight") t.extents = {16, 32};
      if (t.name == "blk.0.ffn_down.weight") t.extents = {24, 32};
    }
    f.place();
    f.tensor("output_norm.weight").type = 8;
  });
}

TEST_F(GgufBadInput, Hyperparameters) {
  refuses("architecture is missing", [](auto& f) { f.erase("general.architecture"); });
  refuses_value("architecture is not a string", "general.architecture", gguf_u32(1));
  refuses(
      "architecture \"gpt2\" is not supported", [](auto&) {}, "gpt2");
  refuses(
      "architecture \"ll\\nama\\x1b\"", [](auto&) {}, "ll\nama\x1B");
  refuses_value("is the first of 2 parts of a split model, but is not called", "split.count",
                gguf_scalar(GgufType::U16, std::uint16_t{2}));
  refuses_value("holds a \"adapter\"", "general.type", gguf_text("adapter"));
  refuses_value("expert_count is not 0", "llama.expert_count", gguf_u32(8));
  refuses_value("causal", "llama.attention.causal", gguf_scalar(GgufType::Bool, std::uint8_t{0}));
  for (const char* key :
       {"llama.block_count", "llama.context_length", "llama.embedding_length", "llama.feed_forward_length",
        "llama.attention.head_count", "llama.attention.layer_norm_rms_epsilon"}) {
    refuses(std::string(key) + " is missing", [&](auto& f) { f.erase(key); });
    refuses_value(std::string(key) + " is not", key, gguf_text("7"));
  }
  for (const char* key :
       {"llama.block_count", "llama.context_length", "llama.embedding_length", "llama.feed_forward_length",
        "llama.attention.head_count", "llama.attention.head_count_kv"}) {
    refuses_value("", key, gguf_u32(0));
    refuses_value("", key, gguf_u32(0xFFFFFFFF));
    refuses_value("", key, gguf_scalar(GgufType::I64, std::int64_t{-1}));
    refuses_value("", key, gguf_scalar(GgufType::I64, std::numeric_limits<std::int64_t>::min()));
    refuses_value("", key, gguf_scalar(GgufType::U64, std::numeric_limits<std::uint64_t>::max()));
    refuses_value("", key, gguf_scalar(GgufType::U64, kHuge));
  }
  refuses_value("is outside 1 to 1024", "llama.block_count", gguf_u32(1025));
  refuses_value("KV heads evenly", "llama.attention.head_count_kv", gguf_u32(3));
  refuses_value("does not divide", "llama.attention.head_count", gguf_u32(3));
  refuses_value("differs from layer to layer", "llama.attention.head_count",
                gguf_array(GgufType::U8, 2, "\2\1"));
  refuses_value("is empty", "llama.attention.head_count", gguf_array(GgufType::U8, 0, ""));
  refuses_value("value_length differs", "llama.attention.key_length", gguf_u32(8));
  refuses("multiple of 8", [](auto& f) {
    f.set("llama.attention.key_length", gguf_u32(12));
    f.set("llama.attention.value_length", gguf_u32(12));
  });
  refuses("head dimension 1024", [](auto& f) {
    f.set("llama.attention.key_length", gguf_u32(1024));
    f.set("llama.attention.value_length", gguf_u32(1024));
  });
  refuses_value("sliding_window is negative", "llama.attention.sliding_window",
                gguf_scalar(GgufType::I32, std::int32_t{-1}));
  for (const float bad : {std::nanf(""), -1.0F, 2.0F, std::numeric_limits<float>::infinity()}) {
    refuses_value("epsilon", "llama.attention.layer_norm_rms_epsilon", gguf_f32(bad));
  }
}

TEST_F(GgufBadInput, Rope) {
  refuses_value("heads have 8 channels", "llama.rope.dimension_count", gguf_u32(16));
  refuses_value("heads have 8 channels", "llama.rope.dimension_count", gguf_u32(3));
  for (const float bad : {std::nanf(""), -1.0F, 0.0F, std::numeric_limits<float>::infinity()}) {
    refuses_value("rope.freq_base is not a", "llama.rope.freq_base", gguf_f32(bad));
  }
  refuses_value("\"dynamic\" is not supported", "llama.rope.scaling.type", gguf_text("dynamic"));
  refuses_value("is not known to this program", "llama.rope.scaling.alpha", gguf_f32(2.0F));
  refuses_value("is not known to this program", "llama.attention.clamp_kqv", gguf_f32(8.0F));
  for (const float bad : {std::nanf(""), -2.0F, std::numeric_limits<float>::infinity()}) {
    refuses_value("llama.rope.scaling.factor is not a", "llama.rope.scaling.factor", gguf_f32(bad));
  }
  refuses_value("frequencies", "llama.rope.scaling.factor",
                gguf_f32(std::numeric_limits<float>::denorm_min()));
  refuses("rope_freqs.weight is not a row of 4", [](auto& f) { f.add("rope_freqs.weight", {5}); });
  refuses("rope_freqs.weight holds 0", [](auto& f) { f.add("rope_freqs.weight", {4}); });  // zeros
}

TEST_F(GgufBadInput, Tokenizer) {
  const std::string tokens = "tokenizer.ggml.tokens";
  refuses_value("\"bert\" is not supported", "tokenizer.ggml.model", gguf_text("bert"));
  refuses_value("tokenizer.ggml.model is not a string", "tokenizer.ggml.model", gguf_u32(1));
  refuses("tokens is missing", [&](auto& f) { f.erase(tokens); });
  refuses_value("tokens is missing or empty", tokens, gguf_texts({}));
  refuses_value("is not an array of strings", tokens, gguf_array(GgufType::U32, 5, std::string(20, '\0')));
  refuses_value("is not an array of strings", tokens, gguf_text("abc"));
  refuses_value("3 tokens but 5 scores", tokens, gguf_texts({"<unk>", "<s>", "</s>"}));
  refuses("without tokenizer.ggml.scores", [](auto& f) { f.erase("tokenizer.ggml.scores"); });
  refuses_value("is not an array of numbers", "tokenizer.ggml.scores", gguf_texts({"1", "2", "3", "4", "5"}));
  std::string bad_scores;
  for (int i = 0; i < 5; ++i) bad_scores += raw(std::nanf(""));
  refuses_value("not a finite number", "tokenizer.ggml.scores", gguf_array(GgufType::F32, 5, bad_scores));
  const std::string types = "tokenizer.ggml.token_type";
  refuses_value("is no token type", types, gguf_array(GgufType::U8, 5, "\1\1\1\1\7"));
  refuses_value("5 tokens but 4 token types", types, gguf_array(GgufType::U8, 4, "\1\1\1\1"));
  refuses_value("is not an array of integers", types, gguf_array(GgufType::F32, 5, std::string(20, '\0')));
  refuses_value("is not an array of integers", types, gguf_text("x"));
  for (const char* role : {"bos", "eos", "unknown", "eot"}) {
    const std::string key = "tokenizer.ggml." + std::string(role) + "_token_id";
    refuses_value("is not that of one of", key, gguf_u32(5));
    refuses_value("is not a token id", key, gguf_u32(0x7FFFFFFF));
    refuses_value("is not an integer", key, gguf_f32(1));
  }
  refuses_value("is not a boolean", "tokenizer.ggml.add_bos_token", gguf_u32(1));
  refuses_value("is not a string", "tokenizer.chat_template", gguf_u32(1));

  const auto byte_pairs = [&](std::string_view part, const std::string& merges) {
    refuses(part, [&](auto& f) {
      f.set("tokenizer.ggml.model", gguf_text("gpt2"));
      if (!merges.empty()) f.set("tokenizer.ggml.merges", merges);
    });
  };
  byte_pairs("without tokenizer.ggml.merges", "");
  byte_pairs("not a pair", gguf_texts({"ab"}));
  byte_pairs("not a pair", gguf_texts({""}));
  byte_pairs("not a pair", gguf_texts({"a "}));
  byte_pairs("not an array of strings", gguf_array(GgufType::U8, 1, "a"));

  GgufBuilder none;
  none.set("x", gguf_u32(1));
  write_file(path_, none.build());
  expect_data_error(path_, "holds no tokenizer", [&] { (void)read_gguf_vocabulary(path_); });
}

}  // namespace
}  // namespace thinkey
