// Accuracy per byte: for every cache spec, exact match on needle questions and the mean KL divergence of
// the answer's token distributions from those of the full cache, against the bytes the cache holds.
//
//   thinkey-frontier [--samples FILE] [--count N] [--budget B] [--svg FILE] [--cache SPEC ...]
//
// Prints a Markdown table. A sample's prompt runs once; every spec compresses it. The KL is measured on
// the true answer's tokens, fed one by one, so that all caches see the same continuation.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "base/fail.h"
#include "eval/needle/needle_samples.h"
#include "eval/report/chart.h"
#include "eval/text/distribution.h"
#include "thinkey/session.h"

namespace thinkey::bench {
namespace {

struct Entry {
  std::string family;
  CacheSpec spec;
  double divergence = 0.0;
  std::size_t tokens = 0, right = 0, samples = 0;
  double bytes = 0.0, full_bytes = 0.0;

  [[nodiscard]] double share() const { return 100.0 * bytes / full_bytes; }
  [[nodiscard]] double mean_kl() const { return divergence / static_cast<double>(tokens); }
  [[nodiscard]] double accuracy() const {
    return 100.0 * static_cast<double>(right) / static_cast<double>(samples);
  }
};

std::vector<Entry> standard_entries(std::size_t budget) {
  std::vector<Entry> entries;
  const auto add = [&](const std::string& family, const std::string& spec) {
    entries.push_back({family, CacheSpec::parse(spec)});
  };
  add("full", "full");
  for (const std::size_t b : {budget / 2, budget, 2 * budget}) {
    add("streaming", fmt::format("streaming:{}", b));
    add("h2o", fmt::format("h2o:{}", b));
    add("pyramidkv", fmt::format("pyramidkv:{},kernel=7,pool=max", b));
    add("snapkv", fmt::format("snapkv:{},kernel=7,pool=max", b));
  }
  const std::string base = fmt::format("snapkv:{},kernel=7,pool=max", budget);
  for (const char* ratio : {"0.3", "0.4", "0.5", "0.6", "0.7", "0.8"}) {
    add("snapkv+think", fmt::format("{}+think:{},form=paper", base, ratio));
    if (std::string(ratio) < "0.6") continue;
    for (const char* beyond : {"bias,form=paper", "adaptive,form=paper", "form=mixed", "bias", "adaptive"}) {
      add(fmt::format("think,{}", beyond), fmt::format("{}+think:{},{}", base, ratio, beyond));
    }
  }
  add("think,form=mixed", base + "+think:0.9");
  for (const char* ratio : {"0.6", "0.8"}) {
    add("think", fmt::format("think:{},form=paper", ratio));
    add("think,form=mixed", fmt::format("think:{}", ratio));
  }
  add("snapkv+think values", base + "+think:keys=0.4,values=0.3,form=paper");
  add("snapkv+think values", base + "+think:keys=0.5,values=0.5,form=paper");
  for (const char* bits : {"8", "4", "2"}) {
    add("kivi", fmt::format("kivi:{}", bits));
    add("snapkv+kivi", fmt::format("{}+kivi:{}", base, bits));
    add("snapkv+think 0.4+kivi", fmt::format("{}+think:0.4,form=paper+kivi:{}", base, bits));
  }
  return entries;
}

void run_sample(const std::shared_ptr<const Model>& model, const eval::NeedleSample& sample,
                std::vector<Entry>& entries) {
  const std::vector<ChatMessage> messages = {{"user", sample.message()}};
  const std::vector<std::int32_t> prompt = model->tokenize_chat(model->render_chat(messages));
  std::vector<Session> sessions;
  std::vector<Session*> together;
  sessions.emplace_back(model, SessionOptions{});  // the reference
  for (const Entry& entry : entries) sessions.emplace_back(model, SessionOptions{.cache = entry.spec});
  for (Session& session : sessions) together.push_back(&session);
  Session::prefill_together(together, prompt);
  // With or without the space before it, whichever the model would rather begin with.
  const std::vector<std::int32_t> spaced = model->tokenize(" " + sample.answer, {.add_special = false});
  const std::vector<std::int32_t> bare = model->tokenize(sample.answer, {.add_special = false});
  const auto first = sessions[0].logits();
  const std::vector<std::int32_t>& answer = first[spaced[0]] > first[bare[0]] ? spaced : bare;
  for (std::size_t e = 0; e < entries.size(); ++e) {
    const CacheReport report = sessions[e + 1].cache_report();
    entries[e].bytes += static_cast<double>(report.bytes);
    entries[e].full_bytes += static_cast<double>(report.full_bytes);
  }

  // An answer is right when greedy decoding gives its tokens and then ends: as long as every most likely
  // token is the true one, feeding the truth is greedy decoding.
  std::vector<bool> right(entries.size(), true);
  for (std::size_t i = 0; i <= answer.size(); ++i) {
    const std::vector<double> reference = eval::log_probabilities(sessions[0].logits());
    for (std::size_t e = 0; e < entries.size(); ++e) {
      const auto logits = sessions[e + 1].logits();
      entries[e].divergence += eval::kl_divergence(reference, eval::log_probabilities(logits));
      ++entries[e].tokens;
      const std::int32_t best = eval::likeliest(logits);
      if (i < answer.size() ? best != answer[i] : !model->ends_generation(best)) right[e] = false;
    }
    if (i < answer.size()) {
      for (Session& session : sessions) session.decode(answer[i]);
    }
  }
  for (std::size_t e = 0; e < entries.size(); ++e) {
    entries[e].right += right[e] ? 1 : 0;
    ++entries[e].samples;
  }
}

int run(int argc, char** argv) {
  std::string path = "models/thinkey-needle.gguf";
  std::string samples_path = "models/samples/needle-4k.jsonl";
  std::string svg;
  std::size_t count = 40;
  std::size_t budget = 256;
  std::vector<Entry> entries;
  for (int i = 1; i < argc; i += 2) {
    const std::string option = argv[i];
    if (i + 1 == argc) fail_usage("{} has no value", option);
    const std::string value = argv[i + 1];
    if (option == "--model")
      path = value;
    else if (option == "--samples")
      samples_path = value;
    else if (option == "--count")
      count = std::stoul(value);
    else if (option == "--budget")
      budget = std::stoll(value);
    else if (option == "--svg")
      svg = value;
    else if (option == "--cache")
      entries.push_back({"given", CacheSpec::parse(value)});
    else {
      fail_usage("unknown option {}; choose from --model, --samples, --count, --budget, --svg, --cache",
                 option);
    }
  }
  if (entries.empty()) entries = standard_entries(budget);
  const auto model = Model::load(path);
  const auto samples = eval::read_samples(samples_path, count);
  for (std::size_t i = 0; i < samples.size(); ++i) {
    fmt::print(stderr, "\rsample {} of {} ", i + 1, samples.size());
    run_sample(model, samples[i], entries);
  }
  fmt::print(stderr, "\r                       \r");

  fmt::print(
      "| cache | exact match | mean KL, nats | bytes | of full f16 |\n| --- | ---: | ---: | ---: | ---: |\n");
  eval::Chart chart{.title = fmt::format("{} samples of {}", samples.size(), samples_path),
                    .x_title = "cache bytes, percent of full f16",
                    .y_title = "mean KL from the full cache, nats",
                    .series = {},
                    .log_x = true,
                    .log_y = true};
  for (const Entry& e : entries) {
    fmt::print("| `{}` | {:.1f} % | {:.4f} | {:.0f} KiB | {:.1f} % |\n", e.spec.to_string(), e.accuracy(),
               e.mean_kl(), e.bytes / 1024.0 / static_cast<double>(e.samples), e.share());
    if (e.family == "full") continue;
    const auto same = [&](const eval::Chart::Series& series) { return series.name == e.family; };
    auto series = std::find_if(chart.series.begin(), chart.series.end(), same);
    if (series == chart.series.end()) series = chart.series.insert(series, {e.family, {}});
    series->points.push_back({e.share(), e.mean_kl(), e.spec.to_string()});
  }
  if (!svg.empty()) {
    std::ofstream out(svg, std::ios::binary);
    out << eval::chart_svg(chart);
    if (!out.flush()) fail_data("{}: cannot write", svg);
  }
  return 0;
}

}  // namespace
}  // namespace thinkey::bench

int main(int argc, char** argv) {
  try {
    return thinkey::bench::run(argc, argv);
  } catch (const thinkey::Error& error) {
    fmt::print(stderr, "thinkey-frontier: {}\n", error.what());
    return static_cast<int>(error.kind());
  } catch (const std::exception& error) {
    fmt::print(stderr, "thinkey-frontier: {}\n", error.what());
    return 1;
  }
}
