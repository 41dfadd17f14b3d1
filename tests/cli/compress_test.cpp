#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "cli/process.h"
#include "formats/safetensors.h"

namespace thinkey::test {
namespace {

using ::testing::HasSubstr;

struct GoldenCase {
  const char* file;
  const char* spec;
};

class CompressGolden : public ::testing::TestWithParam<GoldenCase> {};

// The authors' results, through the program.
TEST_P(CompressGolden, EqualsAuthors) {
  const TemporaryDirectory directory;
  const std::string input = fixture("golden/" + std::string(GetParam().file) + ".safetensors");
  const Outcome outcome =
      run_thinkey({"compress", input, "-o", directory / "out", "--cache", GetParam().spec});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(outcome.out, "");
  EXPECT_THAT(outcome.err, HasSubstr("cache    snapkv"));

  const SafetensorsFile wanted(input);
  const SafetensorsFile got(directory / "out");
  EXPECT_EQ(got.tensors().size(), 4);
  const SafetensorsTensor& tokens = got.at("kept_tokens");
  EXPECT_EQ(tokens.type, SafetensorsType::I32);
  EXPECT_EQ(tokens.shape, wanted.at("kept_tokens").shape);
  EXPECT_EQ(to_integers(tokens), to_integers(wanted.at("kept_tokens")));
  const SafetensorsTensor& channels = got.at("kept_channels");
  EXPECT_EQ(channels.type, SafetensorsType::U8);
  EXPECT_EQ(channels.shape, wanted.at("kept_channels").shape);
  EXPECT_EQ(to_integers(channels), to_integers(wanted.at("kept_channels")));
  const SafetensorsTensor& scores = got.at("channel_scores");
  EXPECT_EQ(scores.type, SafetensorsType::F32);
  EXPECT_EQ(scores.shape, channels.shape);
  EXPECT_GT(std::ranges::min(to_floats(scores)), 0.0F);

  const std::vector<float> out = to_floats(got.at("decode_out"));
  const std::vector<float> decode_out = to_floats(wanted.at("decode_out"));
  ASSERT_EQ(got.at("decode_out").shape, wanted.at("decode_out").shape);
  float scale = 0.0F;
  for (const float x : decode_out) scale = std::max(scale, std::abs(x));
  for (std::size_t i = 0; i < out.size(); ++i) EXPECT_NEAR(out[i], decode_out[i], 2e-3F * scale) << i;

  const auto heads = static_cast<std::size_t>(channels.shape[0]);
  const auto dim = static_cast<std::size_t>(channels.shape[1]);
  const auto kept = static_cast<std::size_t>(tokens.shape[1]);
  const std::size_t bytes = std::stoul(got.metadata().at("cache_bytes"));
  EXPECT_LT(bytes,
            2 * 2 * heads * dim * kept + 64 * heads * (kept + dim));  // no more than the kept tokens in full
  EXPECT_GT(bytes, 2 * heads * dim * kept);
  EXPECT_THAT(got.metadata().at("cache"), HasSubstr("think"));
}

INSTANTIATE_TEST_SUITE_P(
    Files, CompressGolden,
    ::testing::Values(
        GoldenCase{"think_mha_snapkv",
                   "snapkv:budget=96,window=32,kernel=5,pool=avg+think:keys=0.4,recent=32,form=paper"},
        GoldenCase{"think_gqa_snapkv",
                   "snapkv:budget=112,window=32,kernel=7,pool=max+think:keys=0.4,recent=32,form=paper"},
        GoldenCase{"think_gqa_wide",
                   "snapkv:budget=96,window=32,kernel=5,pool=avg+think:keys=0.6,recent=32,form=paper"}),
    [](const auto& p) { return std::string(p.param.file); });

// A layer with H = 4, Hkv = 2, T = 20, D = 8 and whatever a test breaks.
class Compress : public ::testing::Test {
 protected:
  struct Tensor {
    std::vector<std::int64_t> shape;
    std::vector<float> values;
  };

  Compress() {
    add("q", {4, 20, 8});
    add("k", {2, 20, 8});
    add("v", {2, 20, 8});
  }

  void add(const std::string& name, const std::vector<std::int64_t>& shape) {
    std::size_t count = 1;
    for (const std::int64_t n : shape) count *= static_cast<std::size_t>(n);
    std::vector<float> values(count);
    for (std::size_t i = 0; i < count; ++i) {
      values[i] = std::sin(static_cast<float>(i) + static_cast<float>(name[0]));
    }
    tensors_[name] = {shape, values};
  }

  [[nodiscard]] std::string write_input() const {
    std::vector<SafetensorsTensor> list;
    for (const auto& [name, tensor] : tensors_) {
      list.push_back({name, SafetensorsType::F32, tensor.shape, std::as_bytes(std::span(tensor.values))});
    }
    write_safetensors(directory_ / "in", list);
    return directory_ / "in";
  }

  [[nodiscard]] Outcome run(const std::string& spec = "full") const {
    return run_thinkey({"compress", write_input(), "-o", directory_ / "out", "--cache", spec});
  }

  TemporaryDirectory directory_;
  std::map<std::string, Tensor> tensors_;
};

TEST_F(Compress, FullKeepsEverything) {
  const Outcome outcome = run();
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  const SafetensorsFile got(directory_ / "out");
  EXPECT_EQ(got.tensors().size(), 3);  // no decode_q, no decode_out
  EXPECT_EQ(got.metadata().at("cache"), "full");
  std::vector<std::int64_t> all;
  for (int head = 0; head < 2; ++head) {
    for (int t = 0; t < 20; ++t) all.push_back(t);
  }
  EXPECT_EQ(to_integers(got.at("kept_tokens")), all);
  EXPECT_EQ(got.at("kept_tokens").shape, (std::vector<std::int64_t>{2, 20}));
  EXPECT_THAT(to_integers(got.at("kept_channels")), ::testing::Each(1));
  EXPECT_THAT(to_floats(got.at("channel_scores")), ::testing::Each(0.0F));
}

TEST_F(Compress, PromptShorterThanTheWindow) {
  EXPECT_EQ(run("snapkv:budget=40,window=32+think:0.5,form=paper").status, 0);
  tensors_.clear();
  add("q", {1, 1, 8});
  add("k", {1, 1, 8});
  add("v", {1, 1, 8});
  EXPECT_EQ(run("snapkv:budget=40,window=32+think:0.5,form=paper").status, 0);
}

TEST_F(Compress, MissingTensor) {
  for (const char* name : {"q", "k", "v"}) {
    const auto saved = tensors_;
    tensors_.erase(name);
    expect_failure(run(), 1, {"in", std::string(name)});
    tensors_ = saved;
  }
}

TEST_F(Compress, Shapes) {
  const auto saved = tensors_;
  const auto expect = [&](const std::string& name, const std::vector<std::int64_t>& shape,
                          const std::vector<std::string>& words) {
    tensors_ = saved;
    add(name, shape);
    expect_failure(run(), 1, words);
  };
  expect("k", {2, 19, 8}, {"tensor k", "[2, 19, 8]", "[2, 20, 8]"});
  expect("v", {2, 20, 16}, {"tensor v", "[2, 20, 16]", "[2, 20, 8]"});
  expect("v", {1, 20, 8}, {"tensor v", "[1, 20, 8]", "[2, 20, 8]"});
  expect("q", {3, 20, 8}, {"3 query heads", "2 KV heads"});
  expect("q", {4, 160}, {"tensor q", "[4, 160]", "3 dimensions"});
  expect("q", {0, 20, 8}, {"tensor q", "[0, 20, 8]"});
  expect("decode_q", {4, 16}, {"tensor decode_q", "[4, 16]", "[4, 8]"});
  expect("decode_q", {4, 1, 8}, {"tensor decode_q", "2 dimensions"});
  tensors_.clear();
  add("q", {4, 20, 6});
  add("k", {2, 20, 6});
  add("v", {2, 20, 6});
  expect_failure(run(), 1, {"head dimension 6", "multiple of 8"});
}

// Heads that share places keep different numbers of tokens; the table stays a table.
TEST_F(Compress, RowsOfDifferentLengthsAreFilled) {
  tensors_.clear();
  add("q", {4, 400, 8});
  add("k", {2, 400, 8});
  add("v", {2, 400, 8});
  for (std::size_t i = 0; i < 400 * 8; ++i) tensors_["k"].values[i] *= 3.0F;  // the first head is peaked
  const Outcome outcome = run("snapkv:160,window=8,adakv");
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  const SafetensorsFile got(directory_ / "out");
  const std::vector<std::int64_t> shape = got.at("kept_tokens").shape;
  const std::vector<std::int64_t> kept = to_integers(got.at("kept_tokens"));
  ASSERT_EQ(shape.size(), 2U);
  EXPECT_EQ(kept.size(), static_cast<std::size_t>(2 * shape[1]));
  EXPECT_EQ(std::ranges::count_if(kept, [](std::int64_t t) { return t >= 0; }), 320);
  EXPECT_GT(shape[1], 160);
  EXPECT_EQ(std::ranges::count(kept, -1), 2 * shape[1] - 320);
}

TEST_F(Compress, PoliciesThatLookBehindRopeAreTold) {
  for (const char* spec : {"expected:12,sinks=2", "compactor:14,sinks=2,recent=2"}) {
    expect_failure(run(spec), 2, {"looks at keys before RoPE", "inverse_frequencies", "--rope none"});
    const auto kept = [&](const std::vector<std::string>& more) {
      std::vector<std::string> words = {"compress", write_input(), "-o", directory_ / "out", "--cache", spec};
      words.insert(words.end(), more.begin(), more.end());
      const Outcome outcome = run_thinkey(words);
      EXPECT_EQ(outcome.status, 0) << outcome.err;
      return to_integers(SafetensorsFile(directory_ / "out").at("kept_tokens"));
    };
    const auto saved = tensors_;
    const std::vector<std::int64_t> none = kept({"--rope", "none"});
    expect_failure(
        run_thinkey({"compress", write_input(), "-o", directory_ / "out", "--cache", spec, "--rope", "half"}),
        2, {"no inverse_frequencies"});
    tensors_["inverse_frequencies"] = {{4}, {1.0F, 0.5F, 0.25F, 0.125F}};
    EXPECT_NE(kept({}), none) << spec;
    if (std::string_view(spec).starts_with("compactor")) {
      EXPECT_NE(kept({}), kept({"--rope", "interleaved"}));
    }
    EXPECT_EQ(kept({}), kept({"--rope", "half"})) << spec;
    tensors_["inverse_frequencies"] = {{5}, {1.0F, 0.5F, 0.25F, 0.125F, 0.1F}};
    expect_failure(run(spec), 1, {"5 inverse_frequencies", "8 channels"});
    tensors_ = saved;
  }
  expect_failure(run("kvzip:12"), 2, {"kvzip has the model repeat the prompt"});
  expect_failure(run("expected:12,norm=output"), 2, {"norm=output"});
  expect_failure(run("snapkv:12,window=4,critical"), 2, {"critical"});
}

TEST_F(Compress, NotFinite) {
  tensors_["k"].values[17] = std::numeric_limits<float>::quiet_NaN();
  expect_failure(run("snapkv:16,window=8"), 1, {"tensor k", "element 17"});
}

TEST_F(Compress, BadInput) {
  const std::string in = write_input();
  expect_failure(run("snapkv:0.5x"), 2, {"0.5x"});
  expect_failure(run_thinkey({"compress", in}), 2, {"--output"});
  expect_failure(run_thinkey({"compress", "/nowhere/in", "-o", directory_ / "out"}), 1, {"/nowhere/in"});
  expect_failure(run_thinkey({"compress", in, "-o", "/nowhere/out"}), 1, {"/nowhere/out"});
  expect_failure(run_thinkey({"compress", in, "-o", "/dev/full"}), 1, {"/dev/full"});
  expect_failure(run_thinkey({"compress", tiny_model(), "-o", directory_ / "out"}), 1, {"llama2.gguf"});
  const std::string whole = read_bytes(in);
  expect_failure(run_thinkey({"compress", directory_.write("cut", whole.substr(0, whole.size() / 2)), "-o",
                              directory_ / "out"}),
                 1, {"cut"});
  expect_failure(run_thinkey({"compress", in, "-o", directory_ / "out"}, {.file_limit = 64}), 1, {"out"});
  EXPECT_FALSE(std::filesystem::exists(directory_ / "out"));
}

}  // namespace
}  // namespace thinkey::test
