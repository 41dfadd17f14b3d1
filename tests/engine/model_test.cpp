#include "thinkey/model.h"

#include <gmock/gmock.h>

#include "backend/cpu/ops/matvec_int8.h"
#include "formats/model_file.h"
#include "model/fixture.h"
#include "model/spec_reader.h"
#include "model/weights.h"
#include "thinkey/error.h"
#include "thinkey/session.h"

namespace thinkey {
namespace {

using testing::fixture_path;
using ::testing::HasSubstr;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

TEST(Model, SaysWhatItIs) {
  const auto model = Model::load(fixture_path("mistral_v01.gguf"), {.threads = 1});
  const ModelInfo& info = model->info();
  EXPECT_EQ(info.architecture, "llama");
  EXPECT_EQ(info.name, "mistral_v01");
  EXPECT_EQ(info.vocabulary, 96);
  EXPECT_EQ(info.layers, 2);
  EXPECT_EQ(info.width, 32);
  EXPECT_EQ(info.query_heads, 4);
  EXPECT_EQ(info.kv_heads, 2);
  EXPECT_EQ(info.head_dim, 8);
  EXPECT_EQ(info.ffn_width, 48);
  EXPECT_EQ(info.context_length, 256);
  EXPECT_EQ(info.sliding_window, 24);
  EXPECT_FALSE(info.tied_output);
  EXPECT_FALSE(info.has_tokenizer);
  // 2 * 96 * 32 + 32, and per layer 2 * 32 * 32 + 2 * 16 * 32 + 3 * 48 * 32 + 2 * 32.
  const std::size_t norms = 5 * 32;
  const std::size_t matrices = 2 * 96 * 32 + 2 * (2 * 32 * 32 + 2 * 16 * 32 + 3 * 48 * 32);
  EXPECT_EQ(info.parameters, matrices + norms);
  EXPECT_THAT(info.bytes_by_tensor_type,
              UnorderedElementsAre(Pair("F16", matrices * 2), Pair("F32", norms * 4)));
}

TEST(Model, CountsTheBytesOfEveryTensorType) {
  const auto model = Model::load(fixture_path("quantized.gguf"));
  std::vector<std::string> types;
  for (const auto& [type, bytes] : model->info().bytes_by_tensor_type) {
    types.push_back(type);
    EXPECT_GT(bytes, 0U);
  }
  EXPECT_THAT(types,
              ::testing::UnorderedElementsAre("Q8_0", "F16", "Q4_0", "Q5_0", "Q5_1", "Q4_1", "BF16", "F32"));
}

TEST(Model, TokenizesAndBack) {
  const auto model = Model::load(fixture_path("llama2.gguf"));
  ASSERT_TRUE(model->info().has_tokenizer);
  const auto ids = model->tokenize("Hello, world");
  EXPECT_EQ(ids.front(), model->bos());
  EXPECT_EQ(model->detokenize(ids), "Hello, world");
  EXPECT_EQ(model->tokenize("Hello, world", {.add_special = false}).size(), ids.size() - 1);
  EXPECT_TRUE(model->ends_generation(95));
  EXPECT_FALSE(model->ends_generation(1));
  EXPECT_FALSE(model->ends_generation(-1));
}

TEST(Model, WithoutTokenizerSaysSo) {
  const auto model = Model::load(fixture_path("llama31"));
  try {
    (void)model->tokenize("text");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::Data);
    EXPECT_THAT(error.what(), HasSubstr("no tokenizer"));
  }
}

TEST(Model, RefusesBadArguments) {
  const auto kind = [](auto&& call) {
    try {
      call();
    } catch (const Error& error) {
      return static_cast<int>(error.kind());
    }
    return 0;
  };
  EXPECT_EQ(kind([] { (void)Model::load(fixture_path("nowhere.gguf")); }), 1);
  EXPECT_EQ(kind([] { (void)Model::load(fixture_path("llama2.gguf"), {.threads = -1}); }), 2);
  const auto model = Model::load(fixture_path("llama2.gguf"));
  EXPECT_EQ(kind([&] { (void)model->estimate({}, 0, 0); }), 2);
  EXPECT_EQ(kind([&] { (void)model->estimate({}, 10, -1); }), 2);
  EXPECT_EQ(kind([&] { (void)model->estimate_cache({}, std::size_t{1} << 40U); }), 2);
  const std::vector<std::int32_t> outside = {96};
  EXPECT_EQ(kind([&] { (void)model->detokenize(outside); }), 2);
}

// Copies of weights that find no room are refused with what to do without them, and made where there is room.
void expect_memory_is_needed(void (Weights::*copy)(std::size_t),
                             std::size_t (Weights::*bytes)() const noexcept, const char* remedy) {
  if (!cpu_multiplies_int8()) GTEST_SKIP() << "nothing is copied";
  const auto file = open_model_file(fixture_path("quantized.gguf"));
  ModelSpec spec = read_spec(*file);
  Weights weights(*file, spec);
  try {
    (weights.*copy)(1000);
    ADD_FAILURE() << "copied";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::Data);
    EXPECT_THAT(error.what(), HasSubstr(remedy));
  }
  EXPECT_EQ((weights.*bytes)(), 0U);
  (weights.*copy)(std::size_t{1} << 30U);
  EXPECT_GT((weights.*bytes)(), 0U);
}

TEST(Repack, SaysWhenMemoryDoesNotSuffice) {
  expect_memory_is_needed(&Weights::repack, &Weights::repacked_bytes, "use --no-repack");
}

TEST(PrefillWeightsOption, SaysWhenMemoryDoesNotSuffice) {
  expect_memory_is_needed(&Weights::keep_int8, &Weights::int8_bytes, "use --prefill-weights fresh");
}

// Not by a bit: the logits of all tokens of a prompt, and of its last alone.
TEST(PrefillWeightsOption, ChangesNothing) {
  const auto keeping = [](PrefillWeights keep) {
    return Model::load(fixture_path("quantized.gguf"), {.threads = 2, .prefill_weights = keep});
  };
  const auto fresh = keeping(PrefillWeights::Fresh);
  const auto kept = keeping(PrefillWeights::Auto);
  EXPECT_EQ(fresh->info().prefill_weight_bytes, 0U);
  EXPECT_EQ(kept->info().prefill_weight_bytes > 0, kept->info().prefill_arithmetic.ends_with("int8"));
  std::vector<std::int32_t> prompt(70);
  for (std::size_t i = 0; i < prompt.size(); ++i) prompt[i] = static_cast<std::int32_t>(1 + i * 7 % 20);
  const auto logits = [&](const std::shared_ptr<const Model>& model, bool all) {
    Session session(model);
    std::vector<float> out;
    const Session::LogitsSink keep = [&](std::size_t, std::span<const float> row) {
      out.insert(out.end(), row.begin(), row.end());
    };
    session.prefill(prompt, {}, all ? keep : Session::LogitsSink());
    const auto last = session.logits();
    out.insert(out.end(), last.begin(), last.end());
    return out;
  };
  for (const bool all : {false, true}) EXPECT_EQ(logits(fresh, all), logits(kept, all)) << all;
}

// The order of the weights in memory changes sums by rounding only.
TEST(Repack, ChangesNothingButTheOrder) {
  const auto in_order = [](bool repack) {
    return Model::load(fixture_path("quantized.gguf"), {.threads = 1, .repack = repack});
  };
  const auto as_file = in_order(false);
  const auto repacked = in_order(true);
  EXPECT_EQ(as_file->info().repacked_bytes, 0U);
  EXPECT_EQ(repacked->info().repacked_bytes > 0, cpu_multiplies_int8());
  EXPECT_TRUE(as_file->info().quantized);
  Session a(as_file);
  Session b(repacked);
  for (const std::int32_t token : {1, 5, 9, 4, 7}) {
    a.decode(token);
    b.decode(token);
    const auto x = a.logits();
    const auto y = b.logits();
    for (std::size_t i = 0; i < x.size(); ++i) ASSERT_NEAR(x[i], y[i], 1e-4) << i;
  }
}

}  // namespace
}  // namespace thinkey
