#include "eval/analysis/analysis_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "base/fail.h"
#include "base/format_text.h"
#include "eval/report/chart.h"
#include "eval/report/heat_map.h"
#include "eval/report/summary.h"

namespace thinkey::eval {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::array kTopShares = {0.1, 0.25, 0.5};
constexpr std::array kEnergies = {0.90, 0.95, 0.99};
constexpr std::size_t kMostCells = 8192;  // of a heat map, so that a page stays a few megabytes
constexpr std::size_t kMostCurves = 8;

struct Magnitude {
  const char* name;
  const char* key;  // in the JSON
  std::vector<double> ChannelMagnitudes::*channels;
};
constexpr std::array<Magnitude, 3> kMagnitudes = {{
    {"keys before RoPE", "keys_before_rope", &ChannelMagnitudes::unrotated_keys},
    {"keys after RoPE", "keys_after_rope", &ChannelMagnitudes::keys},
    {"values", "values", &ChannelMagnitudes::values},
}};

struct Curves {
  const char* name;
  const char* key;
  std::vector<EnergyCurve> LayerStatistics::*heads;
};
constexpr std::array<Curves, 3> kCurves = {{
    {"logits", "logits", &LayerStatistics::logits},
    {"keys", "keys", &LayerStatistics::keys},
    {"values", "values", &LayerStatistics::values},
}};

struct ErrorFigure {
  const char* name;
  const char* key;
  double AttentionError::*value;
};
constexpr std::array<ErrorFigure, 3> kErrors = {{
    {"attention-logit error", "logits", &AttentionError::logits},
    {"attention mass on kept tokens", "kept_mass", &AttentionError::kept_mass},
    {"attention-output error", "output", &AttentionError::output},
}};

template <typename Items, typename Value>
double mean_over(const Items& items, const Value& value) {
  double sum = 0.0;
  for (const auto& item : items) sum += value(item);
  return sum / static_cast<double>(items.size());
}

std::string percent(double share) { return fmt::format("{:.0f} %", 100.0 * share); }

TableBlock share_table(const Analysis& analysis) {
  TableBlock table{
      .caption = "share of the energy (sum of squares) in the largest channels, mean over KV heads",
      .rows = {{"layer"}}};
  for (const Magnitude& magnitude : kMagnitudes) {
    for (const double top : kTopShares) {
      table.rows[0].emplace_back(fmt::format("{}: top {}", magnitude.name, percent(top)));
    }
  }
  for (std::size_t layer = 0; layer < analysis.layers; ++layer) {
    std::vector<Cell> row = {std::to_string(layer)};
    for (const Magnitude& magnitude : kMagnitudes) {
      for (const double top : kTopShares) {
        row.push_back(percent_cell(mean_over(analysis.statistics[layer].magnitudes, [&](const auto& head) {
          return top_share(head.*magnitude.channels, top);
        })));
      }
    }
    table.rows.push_back(std::move(row));
  }
  return table;
}

TableBlock rank_table(const Analysis& analysis) {
  TableBlock table{.caption = fmt::format(
                       "singular values that hold 90, 95 and 99 % of the energy, of {}; mean over heads",
                       analysis.head_dim),
                   .rows = {{"layer"}}};
  for (const Curves& curves : kCurves) {
    for (const double energy : kEnergies) {
      table.rows[0].emplace_back(fmt::format("{}: {}", curves.name, percent(energy)));
    }
  }
  for (std::size_t layer = 0; layer < analysis.layers; ++layer) {
    std::vector<Cell> row = {std::to_string(layer)};
    for (const Curves& curves : kCurves) {
      for (const double energy : kEnergies) {
        row.push_back(number_cell(
            mean_over(analysis.statistics[layer].*curves.heads,
                      [&](const EnergyCurve& curve) { return static_cast<double>(rank_for(curve, energy)); }),
            1));
      }
    }
    table.rows.push_back(std::move(row));
  }
  return table;
}

// Element-wise mean over the heads of a layer.
EnergyCurve mean_curve(const std::vector<EnergyCurve>& heads) {
  EnergyCurve mean(heads.front().size(), 0.0);
  for (std::size_t r = 0; r < mean.size(); ++r) {
    mean[r] = mean_over(heads, [r](const EnergyCurve& curve) { return curve[r]; });
  }
  return mean;
}

HeatMap channel_map(const Analysis& analysis, const Magnitude& magnitude,
                    const std::vector<std::size_t>& layers) {
  HeatMap map;
  map.title = fmt::format("channel magnitudes, {}", magnitude.name);
  map.row_title = "layer.KV head";
  map.column_title = "channel";
  map.scale = ColourScale::Magnitude;
  map.panels.push_back({.title = "root mean square over the prompt's tokens", .values = {}});
  for (std::size_t c = 0; c < analysis.head_dim; ++c) map.columns.push_back(std::to_string(c));
  std::vector<double>& values = map.panels[0].values;
  for (const std::size_t layer : layers) {
    for (std::size_t h = 0; h < analysis.kv_heads; ++h) {
      map.rows.push_back(fmt::format("{}.{}", layer, h));
      const auto& head = analysis.statistics[layer].magnitudes[h].*magnitude.channels;
      values.insert(values.end(), head.begin(), head.end());
    }
  }
  // The few largest channels would leave all others white.
  std::vector<double> sorted = values;
  const auto high =
      sorted.begin() + static_cast<std::ptrdiff_t>(0.99 * static_cast<double>(sorted.size() - 1));
  std::nth_element(sorted.begin(), high, sorted.end());
  map.high = std::max(*high, 1e-6);
  return map;
}

Chart energy_chart(const Analysis& analysis, const std::vector<std::size_t>& layers) {
  Chart chart{.title = "energy of the attention logits in their largest singular values, mean over heads",
              .x_title = "singular values",
              .y_title = "share of the energy, %",
              .series = {}};
  const std::size_t every = (layers.size() + kMostCurves - 1) / kMostCurves;
  for (std::size_t i = 0; i < layers.size(); i += every) {
    Chart::Series series{.name = fmt::format("layer {}", layers[i]), .points = {}};
    const EnergyCurve curve = mean_curve(analysis.statistics[layers[i]].logits);
    for (std::size_t r = 0; r < curve.size(); ++r) {
      series.points.push_back({.x = static_cast<double>(r + 1), .y = 100.0 * curve[r], .label = {}});
    }
    chart.series.push_back(std::move(series));
  }
  return chart;
}

double mean_error(const SpecErrors& spec, AttentionError LayerError::*queries,
                  double AttentionError::*value) {
  return mean_over(spec.layers, [&](const LayerError& layer) { return layer.*queries.*value; });
}

void add_specs(Report& report, const Analysis& analysis) {
  const bool has_earlier = analysis.tokens > analysis.window;
  TableBlock table{.caption = "what each cache gets wrong, mean over layers",
                   .rows = {{"cache", "bytes", "of full"}}};
  for (const ErrorFigure& figure : kErrors) {
    table.rows[0].emplace_back(figure.name);
    if (has_earlier) table.rows[0].emplace_back("earlier queries");
  }
  for (const SpecErrors& spec : analysis.specs) {
    std::vector<Cell> row = {
        spec.cache, Cell(format_bytes(spec.bytes), static_cast<double>(spec.bytes)),
        percent_cell(static_cast<double>(spec.bytes) / static_cast<double>(spec.full_bytes))};
    for (const ErrorFigure& figure : kErrors) {
      row.push_back(percent_cell(mean_error(spec, &LayerError::window, figure.value), 2));
      if (has_earlier) row.push_back(percent_cell(mean_error(spec, &LayerError::earlier, figure.value), 2));
    }
    table.rows.push_back(std::move(row));
  }
  report.blocks.emplace_back(std::move(table));

  TableBlock by_layer{.caption = "attention-logit error by layer", .rows = {{"layer"}}};
  Chart chart{.title = "attention-logit error by layer, last queries",
              .x_title = "layer",
              .y_title = "relative error, %",
              .series = {}};
  for (const SpecErrors& spec : analysis.specs) {
    by_layer.rows[0].emplace_back(spec.cache);
    chart.series.push_back({.name = spec.cache, .points = {}});
  }
  for (std::size_t layer = 0; layer < analysis.layers; ++layer) {
    std::vector<Cell> row = {std::to_string(layer)};
    for (std::size_t i = 0; i < analysis.specs.size(); ++i) {
      const double error = analysis.specs[i].layers[layer].window.logits;
      row.push_back(percent_cell(error, 2));
      chart.series[i].points.push_back({.x = static_cast<double>(layer), .y = 100.0 * error, .label = {}});
    }
    by_layer.rows.push_back(std::move(row));
  }
  report.blocks.emplace_back(std::move(by_layer));
  report.add_figure(
      chart_svg(chart),
      fmt::format("||A - A'|| / ||A|| (Frobenius) of the last {} queries' logits of kept tokens.",
                  analysis.window));
}

Json error_json(const AttentionError& error) {
  Json json = {{"queries", error.queries}};
  for (const ErrorFigure& figure : kErrors) json[figure.key] = error.*figure.value;
  return json;
}

Json layer_json(const Analysis& analysis, std::size_t layer) {
  const LayerStatistics& statistics = analysis.statistics[layer];
  Json json = {{"layer", layer}};
  for (const Magnitude& magnitude : kMagnitudes) {
    Json& entry = json["magnitudes"][magnitude.key];
    for (const double top : kTopShares) {
      entry["top_shares"].push_back(mean_over(statistics.magnitudes, [&](const ChannelMagnitudes& head) {
        return top_share(head.*magnitude.channels, top);
      }));
    }
    for (const ChannelMagnitudes& head : statistics.magnitudes) {
      entry["kv_heads"].push_back(head.*magnitude.channels);
    }
  }
  for (const Curves& curves : kCurves) {
    Json& entry = json["ranks"][curves.key];
    for (const EnergyCurve& curve : statistics.*curves.heads) {
      Json ranks = Json::array();
      for (const double energy : kEnergies) ranks.push_back(rank_for(curve, energy));
      entry["heads"].push_back(std::move(ranks));
    }
    entry["mean_curve"] = mean_curve(statistics.*curves.heads);
  }
  return json;
}

std::string analysis_json(const Analysis& analysis) {
  Json json = {{"analysis", "attention"},
               {"model", analysis.model},
               {"tokens", analysis.tokens},
               {"layers", analysis.layers},
               {"query_heads", analysis.query_heads},
               {"kv_heads", analysis.kv_heads},
               {"head_dim", analysis.head_dim},
               {"rope_pairs", analysis.interleaved ? "neighbours" : "halves"},
               {"window", analysis.window},
               {"top_shares", kTopShares},
               {"energies", kEnergies}};
  for (std::size_t layer = 0; layer < analysis.layers; ++layer) {
    json["by_layer"].push_back(layer_json(analysis, layer));
  }
  json["caches"] = Json::array();
  for (const SpecErrors& spec : analysis.specs) {
    Json entry = {{"cache", spec.cache}, {"bytes", spec.bytes}, {"full_bytes", spec.full_bytes}};
    for (const ErrorFigure& figure : kErrors) {
      entry["mean"][figure.key] = mean_error(spec, &LayerError::window, figure.value);
      entry["mean_earlier"][figure.key] = mean_error(spec, &LayerError::earlier, figure.value);
    }
    for (const LayerError& layer : spec.layers) {
      entry["layers"].push_back(
          {{"window", error_json(layer.window)}, {"earlier", error_json(layer.earlier)}});
    }
    json["caches"].push_back(std::move(entry));
  }
  return json.dump(2) + "\n";
}

// At most `most` of n layers, evenly spread, the first and the last among them.
std::vector<std::size_t> spread(std::size_t n, std::size_t most) {
  std::vector<std::size_t> layers;
  const std::size_t count = std::clamp<std::size_t>(most, 1, n);
  for (std::size_t i = 0; i < count; ++i) layers.push_back(count == 1 ? 0 : i * (n - 1) / (count - 1));
  return layers;
}

}  // namespace

Report analysis_report(const Analysis& analysis, std::vector<std::size_t> layers) {
  for (const std::size_t layer : layers) {
    if (layer >= analysis.layers) {
      fail_usage("--layers: the model has no layer {}, only 0 to {}", layer, analysis.layers - 1);
    }
  }
  if (layers.empty()) {
    layers = spread(analysis.layers, kMostCells / (analysis.kv_heads * analysis.head_dim));
  }
  Report report;
  report.title = "Keys, values and attention logits: " + analysis.model;
  report.add_text(fmt::format(
      "{} tokens; {} layers, {} query heads, {} KV heads, {} channels. RoPE rotates {}.", analysis.tokens,
      analysis.layers, analysis.query_heads, analysis.kv_heads, analysis.head_dim,
      analysis.interleaved ? "neighbouring channels (2i, 2i + 1)" : "channels i and i + half of them"));
  report.blocks.emplace_back(share_table(analysis));
  report.blocks.emplace_back(rank_table(analysis));
  if (!analysis.specs.empty()) add_specs(report, analysis);
  report.add_figure(
      chart_svg(energy_chart(analysis, layers)),
      "Of Q K^T over all pairs of the prompt's tokens, after RoPE, without the causal mask. Energy: "
      "the sum of the squared singular values.");
  for (const Magnitude& magnitude : kMagnitudes) {
    report.add_figure(heat_map_svg(channel_map(analysis, magnitude, layers)),
                      layers.size() < analysis.layers
                          ? fmt::format("{} of {} layers; the JSON has all.", layers.size(), analysis.layers)
                          : "");
  }
  report.json = analysis_json(analysis);
  return report;
}

}  // namespace thinkey::eval
