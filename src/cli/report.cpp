#include "cli/report.h"

#include <fmt/format.h>

#include <algorithm>

namespace thinkey::cli {

namespace {

std::string percent_of(std::size_t part, std::size_t whole) {
  if (whole == 0) return "-";
  return fmt::format("{:.1f} %", 100.0 * static_cast<double>(part) / static_cast<double>(whole));
}

std::string kept_of(double kept, std::int64_t all) {
  return fmt::format("{} of {}", format_count(kept), all);
}

}  // namespace

std::string format_cache_report(const CacheReport& report) {
  const std::size_t layers = report.layers.size();
  const std::size_t full_layer = layers == 0 ? 0 : report.full_bytes / layers;
  std::vector<std::vector<std::string>> rows = {
      {"layers", "tokens kept", "key channels", "value channels", "bytes per layer", "of full f16"}};
  std::size_t first = 0;  // layer of the latest row
  for (std::size_t i = 0; i < layers; ++i) {
    const LayerCacheReport& layer = report.layers[i];
    std::vector<std::string> row = {fmt::format("{}", i),
                                    kept_of(layer.tokens_kept, report.tokens_seen),
                                    kept_of(layer.channels_kept, report.head_dim),
                                    kept_of(layer.value_channels_kept, report.head_dim),
                                    format_bytes(layer.bytes),
                                    percent_of(layer.bytes, full_layer)};
    if (i > 0 && std::equal(row.begin() + 1, row.end(), rows.back().begin() + 1)) {
      rows.back().front() = fmt::format("{}-{}", first, i);
    } else {
      rows.push_back(std::move(row));
      first = i;
    }
  }
  return fmt::format("cache    {}: {} of {} in full f16 ({})\n", report.spec, format_bytes(report.bytes),
                     format_bytes(report.full_bytes), percent_of(report.bytes, report.full_bytes)) +
         format_table(rows, 9);
}

std::string format_rate(std::int64_t tokens, double seconds) {
  if (seconds <= 0.0) return fmt::format("{} tokens", tokens);
  return fmt::format("{} tokens in {:.2f} s, {:.1f} tokens/s", tokens, seconds,
                     static_cast<double>(tokens) / seconds);
}

OrderedJson to_json(const CacheReport& report) {
  OrderedJson layers = OrderedJson::array();
  for (const LayerCacheReport& layer : report.layers) {
    layers.push_back({{"tokens_kept", layer.tokens_kept},
                      {"channels_kept", layer.channels_kept},
                      {"value_channels_kept", layer.value_channels_kept},
                      {"bytes", layer.bytes}});
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

OrderedJson rate_json(std::int64_t tokens, double seconds) {
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
