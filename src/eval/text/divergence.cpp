#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "base/fail.h"
#include "base/format_text.h"
#include "eval/needle/haystack.h"
#include "eval/report/chart.h"
#include "eval/report/summary.h"
#include "eval/report/summary_json.h"
#include "eval/text/lockstep.h"
#include "eval/text/perplexity.h"

namespace thinkey::eval {
namespace {

struct Windows {
  std::shared_ptr<const Model> model;
  DivergenceOptions options;
  std::vector<std::vector<std::int32_t>> tokens;

  void measure(std::size_t sample, std::span<const CacheSpec> specs, const Hooks& hooks,
               const Emit& emit) const {
    if (const std::size_t context = options.context > 0 ? options.context : model->info().context_length;
        options.prompt + options.continuation > context) {
      throw SampleSkipped(fmt::format("{} tokens and {} after them do not fit the context of {}",
                                      options.prompt, options.continuation, context));
    }
    const std::vector<std::int32_t>& window = tokens[sample];
    const std::size_t prompt = options.prompt;
    const NextToken next = [&](std::size_t step, std::span<const float>) -> std::optional<std::int32_t> {
      if (hooks.sample_progress) {
        hooks.sample_progress(static_cast<double>(step) / static_cast<double>(options.continuation));
      }
      return prompt + step < window.size() ? std::optional(window[prompt + step]) : std::nullopt;
    };
    compare_with_full(model, specs, std::span(window).first(prompt), options.continuation, options.context,
                      next, hooks, emit, options.as_run);
  }
};

}  // namespace

Task divergence_task(std::shared_ptr<const Model> model, const DivergenceOptions& options) {
  if (options.prompt < 1 || options.continuation < 1 || options.samples < 1) {
    fail_usage("prompt, continuation and samples must each be at least 1");
  }
  const std::vector<std::int32_t> ids = model->tokenize(options.text, {.add_special = false});
  const std::vector<std::int32_t> start = model->tokenize("");  // BOS, where the file adds one
  const std::size_t length = options.prompt + options.continuation;
  const std::size_t from_text = length - std::min(length, start.size());
  if (ids.size() < from_text || from_text < 1) {
    fail_data("{}: {} tokens; a prompt of {} and a continuation of {} need {}", options.name, ids.size(),
              options.prompt, options.continuation, from_text);
  }
  auto windows = std::make_shared<Windows>(Windows{std::move(model), options, {}});
  Task task{.name = "kl", .settings = {}, .samples = {}, .measure = {}};
  const std::size_t room = ids.size() - from_text;
  std::optional<std::size_t> previous;
  for (std::size_t i = 0; i < options.samples; ++i) {
    const std::size_t at = options.samples == 1 ? 0 : room * i / (options.samples - 1);
    if (at == previous) continue;  // a text this short has fewer windows
    previous = at;
    auto& window = windows->tokens.emplace_back(start);
    window.insert(window.end(), ids.begin() + static_cast<std::ptrdiff_t>(at),
                  ids.begin() + static_cast<std::ptrdiff_t>(at + from_text));
    task.samples.push_back({fmt::format("token/{}", at), {}});
  }
  task.settings = nlohmann::ordered_json{{"text", options.name},
                                         {"text_fingerprint", text_fingerprint(options.text)},
                                         {"prompt", options.prompt},
                                         {"continuation", options.continuation}}
                      .dump();
  task.measure = [windows](std::size_t sample, std::span<const CacheSpec> specs, const Hooks& hooks,
                           const Emit& emit) { windows->measure(sample, specs, hooks, emit); };
  return task;
}

Report divergence_report(const RunIdentity& identity, const RunOutcome& outcome) {
  Report report;
  report.title = "Divergence from the full cache: " + identity.model;
  describe_run(report, identity, outcome);
  nlohmann::ordered_json json = summary_object(identity, outcome);
  TableBlock table;
  table.rows.push_back({"cache", "mean KL, nats", "+/-", "same top token", "perplexity",
                        "of the full cache's", "bytes", "of full"});
  Chart chart{.title = "mean KL divergence from the full cache",
              .x_title = "cache bytes, percent of full f16",
              .y_title = "mean KL, nats",
              .series = {},
              .log_x = true,
              .log_y = true,
              .least_y = 1e-4};
  for (auto& entry : json["caches"]) {
    const auto cache = entry["cache"].get<std::string>();
    const Selection all{.cache = cache, .labels = {}};
    const Mean kl = mean_of(outcome.records, all, "kl");
    const double top1 = mean_of(outcome.records, all, "top1").value;
    const double nll = mean_of(outcome.records, all, "nll").value;
    const double ratio = std::exp(nll - mean_of(outcome.records, all, "full_nll").value);
    const double bytes = mean_of(outcome.records, all, "cache_bytes").value;
    const double share = bytes / mean_of(outcome.records, all, "full_bytes").value;
    entry["kl_error"] = kl.error;
    entry["perplexity"] = std::exp(nll);
    entry["perplexity_ratio"] = ratio;
    table.rows.push_back({cache, number_cell(kl.value, 4), number_cell(kl.error, 4), percent_cell(top1),
                          number_cell(std::exp(nll), 3), number_cell(ratio, 4),
                          Cell(format_bytes(static_cast<std::size_t>(bytes)), bytes), percent_cell(share)});
    const std::string family = family_of(cache);
    auto series = std::find_if(chart.series.begin(), chart.series.end(),
                               [&](const Chart::Series& s) { return s.name == family; });
    if (series == chart.series.end()) series = chart.series.insert(series, {.name = family, .points = {}});
    series->points.push_back({100.0 * share, kl.value, cache});
  }
  report.blocks.emplace_back(std::move(table));
  Mean floor;  // every cache's records of a sample have the same
  for (const std::string& cache : cache_names(outcome.records)) {
    if (floor.count == 0) floor = mean_of(outcome.records, {.cache = cache, .labels = {}}, "floor_kl");
  }
  if (floor.count > 0) {
    json["floor_kl"] = floor.value;
    report.add_text(fmt::format(
        "The full cache against itself, decoded as run decodes (activations in 8 bits): {:.4f} nats "
        "+/- {:.4f}; differences below that are lost there.",
        floor.value, floor.error));
  }
  report.add_figure(chart_svg(chart), "Each point is a cache; rest the pointer on it for its spec.");
  report.json = json_text(json);
  return report;
}

}  // namespace thinkey::eval
