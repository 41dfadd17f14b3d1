#include "eval/run/sweep.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/fail.h"
#include "base/format_text.h"
#include "eval/needle/haystack.h"
#include "eval/needle/prose.h"
#include "eval/report/chart.h"
#include "eval/report/summary.h"
#include "eval/report/summary_json.h"
#include "eval/run/json_lines.h"
#include "eval/text/distribution.h"
#include "eval/text/lockstep.h"

namespace thinkey::eval {

std::vector<std::string> read_prompts(const std::filesystem::path& path, std::size_t limit) {
  std::vector<std::string> prompts;
  for (const JsonLine& line : read_json_lines(path, limit)) {
    prompts.push_back(line.json.contains("document") ? line.text("document") + "\n\n" + line.text("question")
                                                     : line.text("prompt"));
  }
  return prompts;
}

std::vector<std::string> needle_prompts(const PromptEncoder& encoder, std::size_t count, std::size_t tokens,
                                        std::uint64_t seed) {
  constexpr std::size_t kFacts = 4;
  constexpr std::size_t kAround = 128;  // tokens for the facts and the question
  std::vector<std::string> prompts;
  for (std::size_t i = 0; i < count; ++i) {
    Random random = random_for(seed, fmt::format("sweep/{}", i));
    std::vector<std::string> pieces =
        gather(Haystack().open(random), encoder, tokens - std::min(tokens, kAround));
    std::string key;
    for (std::size_t f = 0; f < kFacts; ++f) {
      const Fact fact = random_fact(random);
      key = fact.key;
      const auto at = static_cast<std::ptrdiff_t>(below(random, pieces.size() + 1));
      pieces.insert(pieces.begin() + at, " The passkey for " + fact.key + " is " + fact.value + ".");
    }
    prompts.push_back(join(pieces) + "\n\nWhat is the passkey for " + key + "?");
  }
  return prompts;
}

std::vector<CacheSpec> specs_within(const Model& model, std::size_t tokens, std::size_t bytes) {
  std::vector<CacheSpec> specs;
  const auto fits = [&](const CacheSpec& spec) { return model.estimate_cache(spec, tokens).bytes <= bytes; };
  const auto add = [&](const std::string& eviction, const std::string& rest) {
    const auto with = [&](std::size_t budget) {
      return CacheSpec::parse(fmt::format(fmt::runtime(eviction), budget) + rest);
    };
    constexpr std::size_t kLeast = 33;  // more than the observation window
    std::size_t low = kLeast;
    std::size_t high = tokens;
    if (tokens <= kLeast || !fits(with(low))) return;
    while (low < high) {  // the largest that fits
      const std::size_t middle = (low + high + 1) / 2;
      if (fits(with(middle))) {
        low = middle;
      } else {
        high = middle - 1;
      }
    }
    specs.push_back(with(low));
  };
  for (const char* whole :
       {"full", "think:0.4", "think:0.6", "think:0.8", "think:keys=0.5,values=0.5,form=paper", "kivi:8",
        "kivi:4", "kivi:2", "turbo:6", "turbo:4", "turbo:3", "turbo:2", "turbo:keys=3,values=2",
        "think:0.4+kivi:4", "think:0.4,form=paper+kivi:4"}) {
    if (const CacheSpec spec = CacheSpec::parse(whole); fits(spec)) specs.push_back(spec);
  }
  // All the bytes as a budget: for every token, for a half or a quarter of them, or as `auto` sees fit. A
  // cache that cannot be so small is no candidate.
  const auto spend = [&](const std::string& before, const char* stage) {
    const CacheSpec spec = CacheSpec::parse(fmt::format("{}{}:{}B", before, stage, bytes));
    try {
      if (fits(spec)) specs.push_back(spec);
    } catch (const Error&) {
    }
  };
  spend("", "auto");
  for (const char* before : {"", "snapkv:50%,chunk=10+", "snapkv:25%,chunk=10+", "expected:50%+"}) {
    spend(before, "turbo");
  }
  for (const char* policy :
       {"streaming:{}", "h2o:{}", "tova:{}", "expected:{}", "keydiff:{}", "lagkv:{}", "rkv:{}",
        "compactor:{}", "compactor:{},chunk=10", "kvzip:{}", "pyramidkv:{},kernel=7,pool=max",
        "snapkv:{},kernel=7,pool=max", "snapkv:{},chunk=10", "snapkv:{},chunk=10,adakv"}) {
    for (const char* rest : {"", "+turbo:4"}) add(policy, rest);
  }
  for (const char* rest :
       {"+think:0.6", "+think:0.8", "+think:0.4,form=paper", "+think:0.4,form=paper+kivi:4", "+kivi:4",
        "+kivi:2", "+turbo:3", "+turbo:keys=3,values=2", "+turbo:2"}) {
    add("snapkv:{},kernel=7,pool=max", rest);
  }
  return specs;
}

Task sweep_task(std::shared_ptr<const Model> model, ChatUse chat, const SweepOptions& options) {
  if (options.prompts.empty()) fail_usage("no prompts to try caches on");
  const PromptEncoder encoder(model, chat);
  auto prompts = std::make_shared<std::vector<std::vector<std::int32_t>>>();
  Task task{.name = "sweep", .settings = {}, .samples = {}, .measure = {}};
  std::string all;
  for (const std::string& prompt : options.prompts) {
    task.samples.push_back({fmt::format("prompt/{}", prompts->size() + 1), {}});
    prompts->push_back(encoder.encode(prompt));
    all += prompt + "\n";
  }
  task.settings = nlohmann::ordered_json{{"prompts", options.name},
                                         {"text_fingerprint", text_fingerprint(all)},
                                         {"chat", encoder.chat()},
                                         {"max_tokens", options.max_tokens}}
                      .dump();
  task.measure = [model = std::move(model), prompts, most = options.max_tokens, context = options.context](
                     std::size_t sample, std::span<const CacheSpec> specs, const Hooks& hooks,
                     const Emit& emit) {
    const std::vector<std::int32_t>& prompt = (*prompts)[sample];
    const std::size_t limit = context > 0 ? context : model->info().context_length;
    if (prompt.size() + most > limit) {
      throw SampleSkipped(
          fmt::format("a prompt of {} tokens and {} of an answer do not fit the context of {}", prompt.size(),
                      most, limit));
    }
    bool ended = false;  // the end token is the last one compared
    const NextToken next = [&](std::size_t step,
                               std::span<const float> logits) -> std::optional<std::int32_t> {
      if (step == 0) ended = false;
      if (ended || step >= most) return std::nullopt;
      const std::int32_t token = likeliest(logits);
      ended = model->ends_generation(token);
      return token;
    };
    compare_with_full(model, specs, prompt, most, context, next, hooks, emit);
  };
  return task;
}

std::vector<Tried> judge(const std::vector<Record>& records, std::size_t budget) {
  std::vector<Tried> tried;
  for (const std::string& cache : cache_names(records)) {
    const Selection all{.cache = cache, .labels = {}};
    const Mean kl = mean_of(records, all, "kl");
    Tried entry{.cache = cache, .kl = kl.value, .kl_error = kl.error};
    entry.top1 = mean_of(records, all, "top1").value;
    entry.same = mean_of(records, all, "same").value;
    entry.share = sum_of(records, all, "cache_bytes") / sum_of(records, all, "full_bytes");
    for (const Record& record : records) {
      if (all.matches(record)) entry.bytes = std::max(entry.bytes, record.value("cache_bytes"));
    }
    entry.fits = entry.bytes <= static_cast<double>(budget);
    tried.push_back(std::move(entry));
  }
  std::stable_sort(tried.begin(), tried.end(),
                   [](const Tried& a, const Tried& b) { return a.bytes < b.bytes; });
  for (Tried& entry : tried) {
    entry.frontier = std::none_of(tried.begin(), tried.end(), [&](const Tried& other) {
      return other.bytes <= entry.bytes && other.kl <= entry.kl &&
             (other.bytes < entry.bytes || other.kl < entry.kl);
    });
  }
  return tried;
}

std::optional<Tried> recommend(const std::vector<Tried>& tried) {
  const Tried* best = nullptr;
  for (const Tried& entry : tried) {
    if (entry.fits && (best == nullptr || entry.kl < best->kl)) best = &entry;
  }
  if (best == nullptr) return std::nullopt;
  for (const Tried& entry : tried) {  // in order of bytes
    if (entry.fits && entry.kl - best->kl <= entry.kl_error + best->kl_error) return entry;
  }
  return *best;
}

Report sweep_report(const RunIdentity& identity, const RunOutcome& outcome, std::size_t budget) {
  Report report;
  report.title = "Sweep of cache specs: " + identity.model;
  describe_run(report, identity, outcome);
  const std::vector<Tried> tried = judge(outcome.records, budget);
  const std::optional<Tried> best = recommend(tried);
  nlohmann::ordered_json json = summary_object(identity, outcome);
  json["budget_bytes"] = budget;
  nlohmann::ordered_json frontier = nlohmann::ordered_json::array();
  TableBlock table{.caption = "the frontier: nothing else has both fewer bytes and less divergence",
                   .rows = {}};
  TableBlock others{.caption = "the other specs", .rows = {}};
  for (TableBlock* block : {&table, &others}) {
    block->rows.push_back(
        {"cache", "bytes", "of full", "mean KL, nats", "+/-", "same top token", "same answer", "fits"});
  }
  Chart chart{
      .title = "divergence against bytes",
      .x_title = "cache bytes, percent of full f16",
      .y_title = "mean KL from the full cache, nats",
      .series = {{.name = "frontier", .points = {}}, {.name = "other specs", .points = {}, .joined = false}},
      .log_x = true,
      .log_y = true};
  for (const Tried& entry : tried) {
    (entry.frontier ? table : others)
        .rows.push_back({entry.cache, Cell(format_bytes(static_cast<std::size_t>(entry.bytes)), entry.bytes),
                         percent_cell(entry.share), number_cell(entry.kl, 4), number_cell(entry.kl_error, 4),
                         percent_cell(entry.top1), percent_cell(entry.same), entry.fits ? "yes" : "no"});
    chart.series[entry.frontier ? 0 : 1].points.push_back({100.0 * entry.share, entry.kl, entry.cache});
    if (entry.frontier) {
      frontier.push_back({{"cache", entry.cache}, {"bytes", entry.bytes}, {"kl", entry.kl}});
    }
  }
  json["frontier"] = std::move(frontier);
  json["recommended"] = best ? nlohmann::ordered_json(best->cache) : nlohmann::ordered_json();
  report.blocks.emplace_back(std::move(table));
  if (others.rows.size() > 1) report.blocks.emplace_back(std::move(others));
  report.add_figure(chart_svg(chart), "Each point is a spec; rest the pointer on it for its name.");
  report.add_text(best ? fmt::format("Recommended within {}: --cache {}", format_bytes(budget), best->cache)
                       : fmt::format("No spec that was tried fits into {}.", format_bytes(budget)));
  report.json = json_text(json);
  return report;
}

}  // namespace thinkey::eval
