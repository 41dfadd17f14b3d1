// Several tokens of one sequence in a step against one token after the other: the same bits everywhere, and
// what a rejected draft leaves behind is nothing.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <random>
#include <string>
#include <vector>

#include "backend/cpu/ops/matvec_int8.h"
#include "base/atomic_file.h"
#include "base/byte_stream.h"
#include "model/fixture.h"

namespace thinkey {
namespace {

using testing::TinyModel;

// Every composition of stages, with budgets that these prompts exceed and events that a short run meets:
// blocks that become thin, groups that fill, windows that leave blocks behind, tokens evicted again.
const char* const kSpecs[] = {"full",
                              "think:0.5,recent=8",
                              "think:keys=0.25,values=0.25,recent=8",
                              "think:0.5,mixed,recent=8",
                              "kivi:4,residual=16",
                              "kivi:2,residual=0",
                              "snapkv:40,window=8",
                              "snapkv:40,window=8,every=5",
                              "snapkv:40,window=8,every=11+think:0.25,recent=8+kivi:4,residual=16",
                              "h2o:40,every=7",
                              "tova:40,every=9",
                              "keydiff:40,every=6",
                              "rkv:40,every=10",
                              "expected:40,every=8",
                              "pyramidkv:40,window=8+kivi:8,residual=8",
                              "streaming:24,every=4",
                              "turbo:4",
                              "snapkv:40,window=8,every=13+turbo:keys=3,values=2"};

// A hash of all that a saved cache holds.
std::uint64_t digest(const SequenceCache& cache, std::size_t layers) {
  AtomicFile file(std::filesystem::temp_directory_path() / ("thinkey-ahead-" + std::to_string(::getpid())));
  ByteWriter out(file);
  for (std::size_t layer = 0; layer < layers; ++layer) cache.layer(layer).save(out);
  return out.digest();  // the file itself is never there
}

// 70 tokens with drafts of random lengths, of which random parts are right.
void expect_same(const TinyModel& model, const char* spec, std::mt19937& random) {
  SCOPED_TRACE(spec);
  const Decoder decoder = model.decoder();
  const std::size_t layers = model.network().layers.size();
  AllocationCounter alone_bytes, ahead_bytes;
  SequenceCache alone(model.shape(), CacheSpec::parse(spec), &alone_bytes);
  SequenceCache ahead(model.shape(), CacheSpec::parse(spec), &ahead_bytes);
  (void)model.last_logits(decoder, model.expects.ids, alone);
  (void)model.last_logits(decoder, model.expects.ids, ahead);
  const auto any = [&](std::size_t end) { return static_cast<std::size_t>(random()) % end; };
  const auto token = [&] { return static_cast<std::int32_t>(any(model.vocabulary())); };
  std::int32_t next = token();
  std::size_t drafted = 0;
  for (std::size_t done = 0; done < 70;) {
    const std::size_t length = std::min(ahead.withdrawable(), any(7));
    const std::size_t right = any(length + 1);
    drafted += length;
    std::vector<std::int32_t> tokens = {next};
    while (tokens.size() < 1 + length) tokens.push_back(token());
    const auto pass = decoder.backend.pass(decoder.network, ahead_request(decoder, tokens.size()), nullptr);
    std::vector<float> logits(tokens.size() * model.vocabulary());
    Draft draft;
    const AheadInput input{.tokens = tokens, .cache = &ahead, .draft = &draft};
    decode_ahead(decoder, {&input, 1}, *pass, logits.data());
    settle(ahead, layers, draft, right);
    tokens.resize(1 + right);
    const std::vector<float> wanted = model.token_major_logits(tokens, alone);
    logits.resize(wanted.size());
    ASSERT_EQ(logits, wanted) << done << " tokens before, " << right << " of " << length << " right";
    ASSERT_EQ(digest(ahead, layers), digest(alone, layers)) << done << " tokens before";
    ASSERT_EQ(ahead_bytes.live(), alone_bytes.live());
    ASSERT_EQ(ahead.report().bytes, alone.report().bytes);
    done += tokens.size();
    next = token();
  }
  EXPECT_GT(drafted, 20U) << "the cache leaves no room for drafts";
}

class Ahead : public ::testing::TestWithParam<std::string> {};

TEST_P(Ahead, IsOneTokenAfterTheOther) {
  std::mt19937 random(11);
  const TinyModel f32(GetParam());
  for (const char* spec : kSpecs) expect_same(f32, spec, random);
  if (!cpu_multiplies_int8()) return;
  const TinyModel int8(GetParam(), {.decode_activations = ActivationPrecision::Int8});
  for (const char* spec : {"full", "snapkv:40,window=8,every=11+think:0.25,recent=8+kivi:4,residual=16"}) {
    expect_same(int8, spec, random);
  }
}

// Several sequences in one step, each with a draft of its own length.
TEST(AheadTogether, IsEachAlone) {
  std::mt19937 random(13);
  const TinyModel model("llama31.gguf");
  const Decoder decoder = model.decoder();
  const std::size_t layers = decoder.network.layers.size();
  const std::vector<const char*> specs = {"full", "snapkv:40,window=8,every=11", "kivi:4,residual=16",
                                          "full"};
  std::vector<SequenceCache> alone;
  std::vector<SequenceCache> together;
  for (const char* spec : specs) {
    alone.emplace_back(model.shape(), CacheSpec::parse(spec));
    together.emplace_back(model.shape(), CacheSpec::parse(spec));
    (void)model.last_logits(decoder, model.expects.ids, alone.back());
    (void)model.last_logits(decoder, model.expects.ids, together.back());
  }
  const auto any = [&](std::size_t end) { return static_cast<std::size_t>(random()) % end; };
  for (int step = 0; step < 25; ++step) {
    std::vector<std::vector<std::int32_t>> tokens(specs.size());
    std::vector<Draft> drafts(specs.size());
    std::vector<AheadInput> batch;
    std::size_t rows = 0;
    for (std::size_t b = 0; b < specs.size(); ++b) {
      const std::size_t length = 1 + std::min(together[b].withdrawable(), any(5));
      while (tokens[b].size() < length)
        tokens[b].push_back(static_cast<std::int32_t>(any(model.vocabulary())));
      rows += length;
      batch.push_back({.tokens = tokens[b], .cache = &together[b], .draft = &drafts[b]});
    }
    const auto pass = decoder.backend.pass(decoder.network, ahead_request(decoder, rows), nullptr);
    std::vector<float> logits(rows * model.vocabulary());
    decode_ahead(decoder, batch, *pass, logits.data());
    auto from = logits.begin();
    for (std::size_t b = 0; b < specs.size(); ++b) {
      const std::size_t right = any(tokens[b].size());
      settle(together[b], layers, drafts[b], right);
      const auto all = static_cast<std::ptrdiff_t>(tokens[b].size() * model.vocabulary());
      tokens[b].resize(1 + right);
      const std::vector<float> wanted = model.token_major_logits(tokens[b], alone[b]);
      const std::vector<float> got(from, from + static_cast<std::ptrdiff_t>(wanted.size()));
      ASSERT_EQ(got, wanted) << "sequence " << b << ", step " << step;
      ASSERT_EQ(digest(together[b], layers), digest(alone[b], layers))
          << "sequence " << b << ", step " << step;
      from += all;
    }
  }
}

// The same where products and attention are shared out among threads.
TEST(AheadThreads, IsOneTokenAfterTheOther) {
  std::mt19937 random(12);
  const TinyModel model("llama31.gguf");
  set_threads(3);
  for (const char* spec : {"full", "snapkv:40,window=8+kivi:4,residual=16"}) {
    expect_same(model, spec, random);
  }
  set_threads(1);
}

INSTANTIATE_TEST_SUITE_P(All, Ahead, ::testing::ValuesIn(testing::fixture_models()), testing::test_name);

}  // namespace
}  // namespace thinkey
