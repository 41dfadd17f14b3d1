#include "cli/report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace thinkey::cli {

namespace {

std::string percent_of(std::size_t part, std::size_t whole) {
  if (whole == 0) return "-";
  return fmt::format("{:.1f} %", 100.0 * static_cast<double>(part) / static_cast<double>(whole));
}

std::string kept_of(double kept, std::size_t all) { return fmt::format("{} of {}", format_count(kept), all); }

}  // namespace

namespace {

// "0-4, 6-10, 12" of ascending numbers; many ranges are cut short.
std::string format_ranges(const std::vector<std::size_t>& numbers) {
  constexpr std::size_t kMostRanges = 4;
  std::vector<std::string> ranges;
  for (std::size_t i = 0; i < numbers.size();) {
    std::size_t end = i + 1;
    while (end < numbers.size() && numbers[end] == numbers[end - 1] + 1) ++end;
    ranges.push_back(end == i + 1 ? fmt::format("{}", numbers[i])
                                  : fmt::format("{}-{}", numbers[i], numbers[end - 1]));
    i = end;
  }
  if (ranges.size() <= kMostRanges) return fmt::format("{}", fmt::join(ranges, ", "));
  return fmt::format("{}, {}, ... {} ({} layers)", ranges[0], ranges[1], ranges.back(), numbers.size());
}

}  // namespace

std::string format_cache_report(const CacheReport& report) {
  const bool windows = std::ranges::any_of(
      report.layers, [](const LayerCacheReport& layer) { return layer.sliding_window > 0; });
  std::vector<std::string> titles = {"layers",         "tokens kept",     "key channels",
                                     "value channels", "bytes per layer", "of full f16"};
  if (windows) titles.insert(titles.begin() + 1, "window");
  // Layers of which there is the same to say share a row.
  std::vector<std::vector<std::string>> kinds;
  std::vector<std::vector<std::size_t>> members;
  for (std::size_t i = 0; i < report.layers.size(); ++i) {
    const LayerCacheReport& layer = report.layers[i];
    const std::size_t seen =
        layer.sliding_window > 0 ? std::min(layer.sliding_window, report.tokens_seen) : report.tokens_seen;
    std::vector<std::string> row = {kept_of(layer.tokens_kept, seen),
                                    kept_of(layer.channels_kept, report.head_dim),
                                    kept_of(layer.value_channels_kept, report.head_dim),
                                    format_bytes(layer.bytes), percent_of(layer.bytes, layer.full_bytes)};
    if (windows) {
      row.insert(row.begin(), layer.sliding_window > 0 ? fmt::format("{}", layer.sliding_window) : "all");
    }
    const auto same = std::ranges::find(kinds, row);
    if (same == kinds.end()) {
      kinds.push_back(std::move(row));
      members.push_back({i});
    } else {
      members[static_cast<std::size_t>(same - kinds.begin())].push_back(i);
    }
  }
  std::vector<std::vector<std::string>> rows = {titles};
  for (std::size_t i = 0; i < kinds.size(); ++i) {
    kinds[i].insert(kinds[i].begin(), format_ranges(members[i]));
    rows.push_back(std::move(kinds[i]));
  }
  return fmt::format("cache    {}: {} of {} in full f16 ({})\n", report.spec, format_bytes(report.bytes),
                     format_bytes(report.full_bytes), percent_of(report.bytes, report.full_bytes)) +
         format_table(rows, 9);
}

std::string format_rate(std::size_t tokens, double seconds) {
  if (seconds <= 0.0) return fmt::format("{} tokens", tokens);
  return fmt::format("{} tokens in {:.2f} s, {:.1f} tokens/s", tokens, seconds,
                     static_cast<double>(tokens) / seconds);
}

namespace {

double tokens_per_step(const Generation& generation) {
  const auto decoded = static_cast<double>(generation.tokens.size() + (generation.ended ? 1 : 0));
  return generation.lookup.steps == 0 ? 0.0 : decoded / static_cast<double>(generation.lookup.steps);
}

}  // namespace

std::string format_lookup(const Generation& generation) {
  const LookupCounts& counts = generation.lookup;
  return fmt::format(
      "lookup   {} tokens drafted, {} accepted ({}), {:.2f} tokens per step\n", counts.drafted,
      counts.accepted,
      percent_of(static_cast<std::size_t>(counts.accepted), static_cast<std::size_t>(counts.drafted)),
      tokens_per_step(generation));
}

OrderedJson lookup_json(const Generation& generation) {
  OrderedJson json;
  json["steps"] = generation.lookup.steps;
  json["drafted"] = generation.lookup.drafted;
  json["accepted"] = generation.lookup.accepted;
  json["tokens_per_step"] = tokens_per_step(generation);
  return json;
}

OrderedJson to_json(const CacheReport& report) {
  OrderedJson layers = OrderedJson::array();
  for (const LayerCacheReport& layer : report.layers) {
    layers.push_back({{"tokens_kept", layer.tokens_kept},
                      {"channels_kept", layer.channels_kept},
                      {"value_channels_kept", layer.value_channels_kept},
                      {"sliding_window", layer.sliding_window},
                      {"bytes", layer.bytes},
                      {"full_bytes", layer.full_bytes}});
  }
  OrderedJson json;
  json["spec"] = report.spec;
  json["tokens_seen"] = report.tokens_seen;
  json["head_dim"] = report.head_dim;
  json["bytes"] = report.bytes;
  json["full_bytes"] = report.full_bytes;
  json["share_of_full"] = report.share_of_full();
  json["layers"] = std::move(layers);
  return json;
}

OrderedJson rate_json(std::size_t tokens, double seconds) {
  OrderedJson json;
  json["tokens"] = tokens;
  json["seconds"] = seconds;
  json["tokens_per_second"] = seconds > 0.0 ? static_cast<double>(tokens) / seconds : 0.0;
  return json;
}

std::string dump(const OrderedJson& json) {
  return json.dump(2, ' ', false, OrderedJson::error_handler_t::replace) + "\n";
}

}  // namespace thinkey::cli
