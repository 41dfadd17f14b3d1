#include "eval/report/summary.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "base/format_text.h"
#include "eval/report/summary_json.h"

namespace thinkey::eval {
namespace {

void add_new(std::vector<std::string>& values, std::string_view value) {
  if (std::find(values.begin(), values.end(), value) == values.end()) values.emplace_back(value);
}

using Json = nlohmann::ordered_json;

// The means of every value that the records have.
void add_means(Json& json, const std::vector<Record>& records) {
  std::vector<std::string> names;
  for (const Record& record : records) {
    for (const auto& [name, value] : record.values) add_new(names, name);
  }
  for (const std::string& name : names) json[name] = mean_of(records, {}, name).value;
  json["samples"] = records.size();
}

std::vector<Record> selected(const std::vector<Record>& records, const Selection& selection) {
  std::vector<Record> out;
  std::copy_if(records.begin(), records.end(), std::back_inserter(out),
               [&](const Record& record) { return selection.matches(record); });
  return out;
}

}  // namespace

std::vector<std::string> label_values(const std::vector<Record>& records, std::string_view label) {
  std::vector<std::string> values;
  for (const Record& record : records) {
    if (const std::string_view value = record.label(label); !value.empty()) add_new(values, value);
  }
  return values;
}

std::vector<std::string> cache_names(const std::vector<Record>& records) {
  std::vector<std::string> names;
  for (const Record& record : records) add_new(names, record.cache);
  return names;
}

bool Selection::matches(const Record& record) const {
  if (!cache.empty() && record.cache != cache) return false;
  return std::all_of(labels.begin(), labels.end(),
                     [&](const auto& label) { return record.label(label.first) == label.second; });
}

Mean mean_of(const std::vector<Record>& records, const Selection& selection, std::string_view value) {
  double sum = 0.0;
  double squares = 0.0;
  Mean mean;
  for (const Record& record : records) {
    if (!selection.matches(record) || !record.has(value)) continue;
    const double x = record.value(value);
    sum += x;
    squares += x * x;
    ++mean.count;
  }
  const auto n = static_cast<double>(mean.count);
  mean.value = mean.count == 0 ? std::numeric_limits<double>::quiet_NaN() : sum / n;
  if (mean.count > 1) {
    mean.error = std::sqrt(std::max(0.0, squares / n - mean.value * mean.value) / (n - 1.0));
  }
  return mean;
}

double sum_of(const std::vector<Record>& records, const Selection& selection, std::string_view value) {
  const Mean mean = mean_of(records, selection, value);
  return mean.count == 0 ? 0.0 : mean.value * static_cast<double>(mean.count);
}

Cell percent_cell(double share, int decimals) {
  return std::isnan(share) ? Cell("-") : Cell(fmt::format("{:.{}f} %", 100.0 * share, decimals), share);
}

Cell number_cell(double value, int decimals) {
  return std::isnan(value) ? Cell("-") : Cell(fmt::format("{:.{}f}", value, decimals), value);
}

std::pair<double, double> share_interval(const Mean& mean) {
  if (mean.count == 0) return {0.0, 1.0};
  constexpr double kZ = 1.96;
  const auto n = static_cast<double>(mean.count);
  const double widened = 1.0 + kZ * kZ / n;
  const double centre = (mean.value + kZ * kZ / (2.0 * n)) / widened;
  const double half = kZ / widened * std::sqrt(mean.value * (1.0 - mean.value) / n + kZ * kZ / (4.0 * n * n));
  return {std::max(0.0, centre - half), std::min(1.0, centre + half)};
}

TableBlock cache_table(const std::vector<Record>& records, const std::string& score_title) {
  TableBlock table;
  table.rows.push_back({"cache", score_title, "95 %", "samples", "bytes", "of full", "decode ms/token"});
  for (const std::string& cache : cache_names(records)) {
    const Selection all{.cache = cache, .labels = {}};
    const Mean score = mean_of(records, all, "score");
    const double bytes = mean_of(records, all, "cache_bytes").value;
    const double share = sum_of(records, all, "cache_bytes") / sum_of(records, all, "full_bytes");
    const double milliseconds =
        1e3 * sum_of(records, all, "decode_seconds") / std::max(1.0, sum_of(records, all, "answer_tokens"));
    const auto [low, high] = share_interval(score);
    table.rows.push_back(
        {cache, percent_cell(score.value), fmt::format("{:.0f} to {:.0f}", 100.0 * low, 100.0 * high),
         std::to_string(score.count), Cell(format_bytes(static_cast<std::size_t>(bytes)), bytes),
         percent_cell(share), number_cell(milliseconds, 2)});
  }
  return table;
}

TableBlock score_table(const std::vector<Record>& records, std::string_view label,
                       const std::string& caption) {
  TableBlock table{.caption = caption, .rows = {}};
  const std::vector<std::string> columns = label_values(records, label);
  auto& header = table.rows.emplace_back();
  header.emplace_back("cache");
  for (const std::string& column : columns) header.emplace_back(column);
  header.emplace_back("mean");
  for (const std::string& cache : cache_names(records)) {
    std::vector<Cell> row = {cache};
    double sum = 0.0;
    for (const std::string& column : columns) {
      const double score = mean_of(records, {cache, {{std::string(label), column}}}, "score").value;
      row.push_back(percent_cell(score));
      sum += score;
    }
    row.push_back(percent_cell(sum / static_cast<double>(columns.size())));
    table.rows.push_back(std::move(row));
  }
  return table;
}

HeatMap score_heat_map(const std::vector<Record>& records, std::string_view row_label,
                       std::string_view column_label, const std::string& title) {
  HeatMap map;
  map.title = title;
  map.row_title = row_label;
  map.column_title = column_label;
  map.rows = label_values(records, row_label);
  map.columns = label_values(records, column_label);
  map.decimals = 0;
  map.shown = 100.0;
  for (const std::string& cache : cache_names(records)) {
    HeatMap::Panel panel{.title = cache, .values = {}};
    for (const std::string& row : map.rows) {
      for (const std::string& column : map.columns) {
        const Selection cell{cache, {{std::string(row_label), row}, {std::string(column_label), column}}};
        panel.values.push_back(mean_of(records, cell, "score").value);
      }
    }
    map.panels.push_back(std::move(panel));
  }
  return map;
}

Json summary_object(const RunIdentity& identity, const RunOutcome& outcome) {
  Json json = {{"task", identity.task},
               {"model", identity.model},
               {"weights", identity.weights},
               {"settings", Json::parse(identity.settings)}};
  Json caches = Json::array();
  for (const std::string& cache : cache_names(outcome.records)) {
    const std::vector<Record> own = selected(outcome.records, {.cache = cache, .labels = {}});
    Json entry = {{"cache", cache}};
    add_means(entry, own);
    const double full = sum_of(own, {}, "full_bytes");
    if (full > 0.0) entry["share_of_full"] = sum_of(own, {}, "cache_bytes") / full;
    if (const Mean score = mean_of(own, {}, "score"); score.count > 0) {
      const auto [low, high] = share_interval(score);
      entry["score_interval"] = {low, high};
    }
    Json groups = Json::array();
    std::vector<Labels> seen;
    for (const Record& record : own) {
      if (record.labels.empty() || std::find(seen.begin(), seen.end(), record.labels) != seen.end()) continue;
      seen.push_back(record.labels);
      Json group = Json::object();
      for (const auto& [name, value] : record.labels) group[name] = value;
      add_means(group, selected(own, {.cache = {}, .labels = record.labels}));
      groups.push_back(std::move(group));
    }
    if (!groups.empty()) entry["groups"] = std::move(groups);
    caches.push_back(std::move(entry));
  }
  json["caches"] = std::move(caches);
  Json skipped = Json::array();
  for (const auto& [sample, reason] : outcome.skipped) {
    skipped.push_back({{"sample", sample}, {"reason", reason}});
  }
  json["skipped"] = std::move(skipped);
  json["non_finite"] = outcome.non_finite;
  if (outcome.partial) json["partial"] = true;
  return json;
}

std::string json_text(const Json& json) {
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string summary_json(const RunIdentity& identity, const RunOutcome& outcome) {
  return json_text(summary_object(identity, outcome));
}

void describe_run(Report& report, const RunIdentity& identity, const RunOutcome& outcome) {
  std::string settings;
  const Json json = Json::parse(identity.settings);
  for (const auto& [name, value] : json.items()) settings += fmt::format("; {}: {}", name, value.dump());
  report.add_text(fmt::format("Model {}, weights {}{}.", identity.model, identity.weights, settings));
  if (outcome.partial) {
    report.title += " (partial: interrupted)";
    report.add_text(
        "Partial: the run was interrupted; these are the samples that are complete under every cache.");
  }
  if (outcome.non_finite > 0) {
    report.add_text(fmt::format("{} samples were refused: the model computed NaN or infinity on them.",
                                outcome.non_finite));
  }
  if (!outcome.skipped.empty()) {
    report.add_text(fmt::format("{} samples were left out, the first: {}: {}.", outcome.skipped.size(),
                                outcome.skipped.front().first, outcome.skipped.front().second));
  }
}

std::string family_of(const std::string& cache) {
  const std::size_t plus = std::min(cache.find('+'), cache.size());
  return cache.substr(0, std::min(cache.find(':'), plus)) + cache.substr(plus);
}

Report score_report(const std::string& title, const RunIdentity& identity, const RunOutcome& outcome,
                    std::initializer_list<std::pair<std::string_view, const char*>> labels) {
  Report report;
  report.title = title + ": " + identity.model;
  describe_run(report, identity, outcome);
  report.blocks.emplace_back(cache_table(outcome.records, "score"));
  for (const auto& [label, caption] : labels) {
    report.blocks.emplace_back(score_table(outcome.records, label, caption));
  }
  report.json = summary_json(identity, outcome);
  return report;
}

}  // namespace thinkey::eval
