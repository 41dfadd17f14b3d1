#include "eval/text/perplexity.h"

#include <gmock/gmock.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "support.h"
#include "thinkey/session.h"

namespace thinkey::eval::test {
namespace {

using ::testing::HasSubstr;

const RunIdentity kIdentity{"perplexity", "tiny", "00ff", "{}"};

std::string text() { return read_all(THINKEY_FIXTURES "/eval/perplexity.txt"); }

RunOutcome run_all(const Task& task, const std::vector<std::string>& texts) {
  std::vector<CacheSpec> specs;
  for (const std::string& spec : texts) specs.push_back(CacheSpec::parse(spec));
  ResultFile file({}, kIdentity, false, {});
  return run(task, specs, file, {});
}

// "Final estimate: PPL over 6 chunks for n_ctx=64 = 13751.8105 +/- 3212.63033" and
// "[1]29471.1906,...,[6]13751.8105": ik_llama.cpp's llama-perplexity -m tests/fixtures/model/llama2.gguf -f
// tests/fixtures/eval/perplexity.txt -c 64 -b 64. Its attention rounds keys and values to 16 bits, which
// these random weights feel; counting one token more or less, or another one as a chunk's first, moves the
// result by percents.
TEST(Perplexity, IsThatOfLlamaCpp) {
  const RunOutcome outcome =
      run_all(perplexity_task(tiny_model(), {.text = text(), .name = "t", .chunk = 64}), {"full"});
  ASSERT_EQ(outcome.records.size(), 6U);
  const Perplexity result = perplexity_of(outcome.records, "full");
  EXPECT_NEAR(std::log(result.value), std::log(13751.8105), 1e-3);
  EXPECT_NEAR(result.uncertainty / 3212.63033, 1.0, 2e-3);
  EXPECT_EQ(result.tokens, 6U * 31U);
  EXPECT_NEAR(outcome.records[0].value("nll_sum") / 31.0, std::log(29471.1906), 5e-3);
}

// By hand: BOS in front of each chunk, the second half scored.
TEST(Perplexity, ScoresTheSecondHalf) {
  const auto model = tiny_model();
  const std::vector<std::int32_t> ids = model->tokenize(text());
  std::vector<std::int32_t> chunk(ids.begin() + 40, ids.begin() + 80);
  chunk[0] = model->bos();
  double nll = 0.0;
  Session session(model);
  session.prefill(chunk, {}, [&](std::size_t index, std::span<const float> logits) {
    if (index < 20 || index > 38) return;
    double sum = 0.0;
    for (const float x : logits) sum += std::exp(static_cast<double>(x));
    nll += std::log(sum) - logits[static_cast<std::size_t>(chunk[static_cast<std::size_t>(index) + 1])];
  });
  const RunOutcome outcome =
      run_all(perplexity_task(model, {.text = text(), .name = "t", .chunk = 40, .chunks = 2}), {"full"});
  ASSERT_EQ(outcome.records.size(), 2U);
  EXPECT_NEAR(outcome.records[1].value("nll_sum"), nll, 1e-3);
  EXPECT_EQ(outcome.records[1].value("tokens"), 19.0);
}

// A cache that keeps everything gives the full cache's number, but for 16-bit keys; one that does not,
// another.
TEST(Perplexity, ThroughCompressedCaches) {
  const RunOutcome outcome =
      run_all(perplexity_task(tiny_model(), {.text = text(), .name = "t", .chunk = 96}),
              {"full", "snapkv:96,window=8", "snapkv:16,window=8+think:0.7,recent=4,form=paper"});
  const double full = perplexity_of(outcome.records, "full").value;
  const double kept =
      perplexity_of(outcome.records, CacheSpec::parse("snapkv:96,window=8").to_string()).value;
  const double thin =
      perplexity_of(outcome.records,
                    CacheSpec::parse("snapkv:16,window=8+think:0.7,recent=4,form=paper").to_string())
          .value;
  EXPECT_NEAR(kept / full, 1.0, 0.01);
  EXPECT_GT(std::abs(thin / full - 1.0), 0.02);
}

TEST(Perplexity, RefusesShortTextsAndLongChunks) {
  const auto model = tiny_model();
  const auto error = [&](const PerplexityOptions& options) {
    return error_of([&] { static_cast<void>(perplexity_task(model, options)); });
  };
  EXPECT_THAT(error({.text = "short", .name = "book.txt", .chunk = 64}),
              HasSubstr("book.txt: 7 tokens; perplexity needs"));
  EXPECT_THAT(error({.text = text(), .name = "t", .chunk = 512}), HasSubstr("context of 256"));
  EXPECT_THAT(error({.text = text(), .name = "t", .chunk = 2}), HasSubstr("at least 4"));
}

DivergenceOptions windows() {
  return {.text = text(), .name = "t", .prompt = 120, .continuation = 40, .samples = 3};
}

TEST(Divergence, IsNothingForTheFullCacheAndSomethingForAThinOne) {
  const RunOutcome outcome = run_all(divergence_task(tiny_model(), windows()),
                                     {"full", "snapkv:32,window=8+think:0.6,recent=8,form=paper"});
  ASSERT_EQ(outcome.records.size(), 6U);
  for (const Record& record : outcome.records) {
    const bool full = record.cache == "full";
    EXPECT_EQ(record.value("tokens"), 40.0);
    if (full) {
      EXPECT_LT(record.value("kl"), 1e-9);
      EXPECT_EQ(record.value("top1"), 1.0);
      EXPECT_EQ(record.value("same"), 1.0);
      EXPECT_NEAR(record.value("nll"), record.value("full_nll"), 1e-9);
    } else {
      EXPECT_GT(record.value("kl"), 1e-3);
      EXPECT_LT(record.value("top1"), 1.0);
    }
  }
}

// The full cache's continuation is the text's own: its mean log-likelihood is that of one prefill.
TEST(Divergence, FeedsTheTextsOwnTokens) {
  const auto model = tiny_model();
  const RunOutcome outcome = run_all(divergence_task(model, windows()), {"full"});
  std::vector<std::int32_t> ids = model->tokenize(text());
  ids.resize(160);
  double nll = 0.0;
  Session session(model);
  session.prefill(ids, {}, [&](std::size_t index, std::span<const float> logits) {
    if (index < 119 || index > 158) return;
    double sum = 0.0;
    for (const float x : logits) sum += std::exp(static_cast<double>(x));
    nll += std::log(sum) - logits[static_cast<std::size_t>(ids[static_cast<std::size_t>(index) + 1])];
  });
  EXPECT_EQ(outcome.records.front().sample, "token/0");
  EXPECT_NEAR(outcome.records.front().value("full_nll"), nll / 40.0, 0.02);  // decoding keeps keys in 16 bits
}

// The floor is of full caches, whatever specs are measured beside it.
TEST(Divergence, FloorIsOfTheFullCacheDecodedOtherwise) {
  DivergenceOptions options = windows();
  const std::vector<std::string> specs = {"snapkv:32,window=8+think:0.6,recent=8,form=paper"};
  EXPECT_FALSE(run_all(divergence_task(tiny_model(), options), specs).records.front().has("floor_kl"));
  options.as_run = tiny_model();
  const RunOutcome outcome = run_all(divergence_task(tiny_model(), options), specs);
  for (const Record& record : outcome.records) EXPECT_LT(record.value("floor_kl"), 1e-9);
  const Report report = divergence_report(kIdentity, outcome);
  EXPECT_THAT(report_text(report), HasSubstr("decoded as run decodes"));
  EXPECT_LT(nlohmann::json::parse(report.json)["floor_kl"].get<double>(), 1e-9);
}

TEST(Divergence, RefusesShortTexts) {
  DivergenceOptions options = windows();
  options.prompt = 1000;
  EXPECT_THAT(error_of([&] { static_cast<void>(divergence_task(tiny_model(), options)); }),
              HasSubstr("a prompt of 1000 and a continuation of 40 need 1039"));
  options = windows();
  options.context = 100;
  const RunOutcome outcome = run_all(divergence_task(tiny_model(), options), {"full"});
  EXPECT_EQ(outcome.skipped.size(), 3U);
}

TEST(Divergence, ReportSaysRatioAndPoints) {
  const RunOutcome outcome =
      run_all(divergence_task(tiny_model(), windows()), {"full", "think:0.6,recent=8,form=paper"});
  const Report report = divergence_report(kIdentity, outcome);
  const auto json = nlohmann::json::parse(report.json);
  EXPECT_NEAR(json["caches"][0]["perplexity_ratio"].get<double>(), 1.0, 1e-9);
  EXPECT_EQ(occurrences(report_html(report), "class=\"point\""), 2U);
}

}  // namespace
}  // namespace thinkey::eval::test
