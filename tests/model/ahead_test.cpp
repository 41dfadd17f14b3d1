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
    decode_ahead(decoder, tokens, ahead, *pass, logits.data(), draft);
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
