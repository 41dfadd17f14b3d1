#include "eval/text/perplexity.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/fail.h"
#include "eval/needle/haystack.h"
#include "eval/report/chart.h"
#include "eval/report/summary.h"
#include "eval/report/summary_json.h"
#include "eval/run/generation.h"
#include "eval/text/distribution.h"
#include "thinkey/session.h"

namespace thinkey::eval {
namespace {

struct Sums {
  double nll = 0.0, squares = 0.0;
  std::size_t tokens = 0;

  void add(double x) {
    nll += x;
    squares += x * x;
    ++tokens;
  }
  [[nodiscard]] Record record() const {
    Record out;
    out.values = {{"nll_sum", nll}, {"nll_squares", squares}, {"tokens", static_cast<double>(tokens)}};
    return out;
  }
};

struct Chunks {
  std::shared_ptr<const Model> model;
  std::vector<std::vector<std::int32_t>> tokens;

  // In one prefill, whose logits no cache changes.
  [[nodiscard]] Record whole(std::size_t chunk, const Hooks& hooks) const {
    const std::vector<std::int32_t>& ids = tokens[chunk];
    const std::size_t first = ids.size() / 2;
    const std::size_t last = ids.size() - 2;
    Sums sums;
    Session session(model, {.cache = {}, .context = ids.size()});
    session.prefill(
        ids, [&](double, double) { checkpoint(hooks); },
        [&](std::size_t index, std::span<const float> logits) {
          if (index < first || index > last) return;
          sums.add(negative_log_likelihood(logits, ids[index + 1]));
        });
    Record record = sums.record();
    const CacheReport report = session.cache_report();
    record.values.emplace_back("cache_bytes", static_cast<double>(report.bytes));
    record.values.emplace_back("full_bytes", static_cast<double>(report.full_bytes));
    return record;
  }

  // The first half prefilled and compressed, the second half decoded.
  [[nodiscard]] Record through(Session& session, std::size_t chunk, const Hooks& hooks) const {
    const std::vector<std::int32_t>& ids = tokens[chunk];
    const CacheReport report = session.cache_report();
    Sums sums;
    for (std::size_t i = ids.size() / 2; i + 1 < ids.size(); ++i) {
      checkpoint(hooks);
      sums.add(negative_log_likelihood(session.logits(), ids[i + 1]));
      if (i + 2 < ids.size()) session.decode(ids[i + 1]);
    }
    Record record = sums.record();
    record.values.emplace_back("cache_bytes", static_cast<double>(report.bytes));
    record.values.emplace_back("full_bytes", static_cast<double>(report.full_bytes));
    return record;
  }

  void measure(std::size_t chunk, std::span<const CacheSpec> specs, const Hooks& hooks,
               const Emit& emit) const {
    std::vector<CacheSpec> thin;
    std::vector<std::size_t> places;
    for (std::size_t i = 0; i < specs.size(); ++i) {
      if (specs[i] == CacheSpec{}) {
        emit(i, whole(chunk, hooks));
      } else {
        thin.push_back(specs[i]);
        places.push_back(i);
      }
    }
    const std::vector<std::int32_t>& ids = tokens[chunk];
    const auto prompt = std::span(ids).first(ids.size() / 2 + 1);
    for (std::size_t at = 0; at < thin.size();) {
      const auto rest = std::span<const CacheSpec>(thin).subspan(at);
      const std::size_t count =
          specs_that_fit(*model, rest, prompt.size(), static_cast<std::size_t>(ids.size() - prompt.size()));
      std::vector<Session> sessions = prefill_specs(model, rest.first(count), prompt, ids.size(), hooks, {});
      for (Session& session : sessions) {
        emit(places[at++], through(session, chunk, hooks));
        if (hooks.sample_progress) {
          hooks.sample_progress(static_cast<double>(at) / static_cast<double>(thin.size()));
        }
      }
    }
  }

 private:
  static void checkpoint(const Hooks& hooks) {
    if (hooks.checkpoint) hooks.checkpoint();
  }
};

}  // namespace

Task perplexity_task(std::shared_ptr<const Model> model, const PerplexityOptions& options) {
  if (options.chunk < 4) fail_usage("a chunk of {} tokens: it must be at least 4", options.chunk);
  if (options.chunk > model->info().context_length) {
    fail_usage("chunks of {} tokens do not fit the model's context of {}; give a smaller -c", options.chunk,
               model->info().context_length);
  }
  const std::vector<std::int32_t> ids = model->tokenize(options.text);
  const std::size_t size = options.chunk;
  if (ids.size() < 2 * size) {
    fail_data("{}: {} tokens; perplexity needs at least two chunks of {}", options.name, ids.size(),
              options.chunk);
  }
  const std::vector<std::int32_t> empty = model->tokenize("");
  const bool adds_bos = !empty.empty() && empty.front() == model->bos();
  std::size_t count = ids.size() / size;
  if (options.chunks) count = std::min(count, *options.chunks);

  auto chunks = std::make_shared<Chunks>();
  Task task{.name = "perplexity", .settings = {}, .samples = {}, .measure = {}};
  for (std::size_t i = 0; i < count; ++i) {
    const auto begin = ids.begin() + static_cast<std::ptrdiff_t>(i * size);
    auto& chunk = chunks->tokens.emplace_back(begin, begin + static_cast<std::ptrdiff_t>(size));
    if (adds_bos) chunk.front() = model->bos();
    task.samples.push_back({fmt::format("chunk/{}", i + 1), {}});
  }
  task.settings = nlohmann::ordered_json{
      {"text", options.name},
      {"text_fingerprint", text_fingerprint(options.text)},
      {"chunk",
       options.chunk}}.dump();
  chunks->model = std::move(model);
  task.measure = [chunks](std::size_t sample, std::span<const CacheSpec> specs, const Hooks& hooks,
                          const Emit& emit) { chunks->measure(sample, specs, hooks, emit); };
  return task;
}

Perplexity perplexity_of(const std::vector<Record>& records, const std::string& cache) {
  const Selection all{.cache = cache, .labels = {}};
  const double count = sum_of(records, all, "tokens");
  const double mean = sum_of(records, all, "nll_sum") / count;
  const double variance = sum_of(records, all, "nll_squares") / count - mean * mean;
  const double value = std::exp(mean);
  return {.value = value,
          .uncertainty = variance > 0.0 && count > 1.0 ? value * std::sqrt(variance / (count - 1.0)) : 0.0,
          .tokens = static_cast<std::size_t>(count)};
}

Report perplexity_report(const RunIdentity& identity, const RunOutcome& outcome) {
  Report report;
  report.title = "Perplexity: " + identity.model;
  describe_run(report, identity, outcome);
  nlohmann::ordered_json json = summary_object(identity, outcome);
  TableBlock table;
  table.rows.push_back({"cache", "perplexity", "+/-", "tokens scored", "of full bytes"});
  Chart chart{
      .title = "perplexity of the chunks so far", .x_title = "chunks", .y_title = "perplexity", .series = {}};
  for (auto& entry : json["caches"]) {
    const auto cache = entry["cache"].get<std::string>();
    const Perplexity result = perplexity_of(outcome.records, cache);
    entry["perplexity"] = result.value;
    entry["uncertainty"] = result.uncertainty;
    entry["tokens_scored"] = result.tokens;
    const Selection all{.cache = cache, .labels = {}};
    table.rows.push_back({cache, number_cell(result.value, 4), number_cell(result.uncertainty, 5),
                          Cell(std::to_string(result.tokens), static_cast<double>(result.tokens)),
                          percent_cell(sum_of(outcome.records, all, "cache_bytes") /
                                       sum_of(outcome.records, all, "full_bytes"))});
    Chart::Series series{.name = cache, .points = {}};
    double nll = 0.0;
    double tokens = 0.0;
    for (const Record& record : outcome.records) {
      if (record.cache != cache) continue;
      nll += record.value("nll_sum");
      tokens += record.value("tokens");
      series.points.push_back({static_cast<double>(series.points.size() + 1), std::exp(nll / tokens), cache});
    }
    chart.series.push_back(std::move(series));
  }
  report.blocks.emplace_back(std::move(table));
  report.add_figure(chart_svg(chart));
  report.json = json_text(json);
  return report;
}

}  // namespace thinkey::eval
