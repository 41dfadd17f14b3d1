// thinkey inspect: what a model file holds, and what its KV cache will cost.
#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/fail.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/report.h"
#include "formats/printable.h"

namespace thinkey::cli {

namespace {

struct Arguments {
  ModelArguments model;
  std::size_t context = 0;
  std::vector<std::string> caches = {"full", "think:0.4", "snapkv:25%", "snapkv:25%+think:0.4"};
  bool json = false;
};

// One spec's cost at the context.
struct Cost {
  CacheReport cache;
  MemoryEstimate memory;  // beside the weights, while the prompt is computed
};

std::vector<Cost> estimate_costs(const Model& model, const std::vector<CacheSpec>& specs,
                                 std::size_t context) {
  std::vector<Cost> costs;
  for (const CacheSpec& spec : specs) {
    costs.push_back({model.estimate_cache(spec, context), model.estimate(spec, context, 0)});
  }
  return costs;
}

std::string format_model(const ModelInfo& info, const Model& model, const std::string& path) {
  std::string text;
  const auto line = [&text](std::string_view label, const std::string& value) {
    if (!value.empty()) text += fmt::format("{:<14}{}\n", label, printable(value, 200));
  };
  line("file", fmt::format("{} ({}, {})", path, info.container, format_bytes(info.file_bytes)));
  line("name", info.name);
  line("architecture", info.architecture);
  line("parameters", fmt::format("{}", info.parameters));
  line("layers", fmt::format("{}, width {}, feed-forward {}", info.layers, info.width, info.ffn_width));
  line("attention",
       fmt::format("{} query heads over {} KV heads, head dimension {}{}", info.query_heads, info.kv_heads,
                   info.head_dim,
                   info.sliding_window > 0 ? fmt::format(", sliding window {}", info.sliding_window) : ""));
  line("rope", fmt::format("theta {}{}", info.rope_theta,
                           info.rope_scaling.empty() || info.rope_scaling == "none"
                               ? ""
                               : fmt::format(", {} scaling", info.rope_scaling)));
  line("context", fmt::format("{}", info.context_length));
  line("vocabulary",
       fmt::format("{}{}", info.vocabulary, info.tied_output ? ", output tied to the embedding" : ""));
  line("tokenizer", !info.has_tokenizer ? "none"
                    : model.bos() >= 0  ? fmt::format("present, BOS {}", model.bos())
                                        : std::string("present, no BOS"));
  text += "\ntensors\n";
  std::vector<std::vector<std::string>> rows;
  for (const auto& [type, bytes] : info.bytes_by_tensor_type) rows.push_back({type, format_bytes(bytes)});
  text += format_table(rows, 2);
  return text;
}

// Layers of one kind, or all of them: the means of what they keep, the sums of their bytes.
std::vector<std::string> cost_row(const std::string& label, const std::vector<LayerCacheReport>& layers,
                                  const std::string& peak) {
  double tokens = 0.0;
  double channels = 0.0;
  double value_channels = 0.0;
  std::size_t bytes = 0;
  std::size_t full_bytes = 0;
  for (const LayerCacheReport& layer : layers) {
    tokens += layer.tokens_kept;
    channels += layer.channels_kept;
    value_channels += layer.value_channels_kept;
    bytes += layer.bytes;
    full_bytes += layer.full_bytes;
  }
  const double count = std::max<double>(1.0, static_cast<double>(layers.size()));
  const double share = full_bytes == 0 ? 0.0 : static_cast<double>(bytes) / static_cast<double>(full_bytes);
  return {label,
          format_count(tokens / count),
          format_count(channels / count),
          format_count(value_channels / count),
          format_bytes(bytes),
          fmt::format("{:.1f} %", 100.0 * share),
          peak};
}

std::string format_costs(const std::vector<Cost>& costs, std::size_t context) {
  std::vector<std::vector<std::string>> rows = {{"cache", "tokens kept", "key channels", "value channels",
                                                 "bytes", "of full f16", "prefill peak beside weights"}};
  for (const Cost& cost : costs) {
    rows.push_back(cost_row(cost.cache.spec, cost.cache.layers, format_bytes(cost.memory.total())));
    std::map<std::size_t, std::vector<LayerCacheReport>> kinds;  // by window
    for (const LayerCacheReport& layer : cost.cache.layers) kinds[layer.sliding_window].push_back(layer);
    if (kinds.size() < 2) continue;
    for (const auto& [window, layers] : kinds) {
      const std::string kind = window == 0 ? "that see everything" : fmt::format("of window {}", window);
      rows.push_back(cost_row(fmt::format("  {} layers {}", layers.size(), kind), layers, ""));
    }
  }
  std::string question;
  for (const Cost& cost : costs) {
    if (CacheSpec::parse(cost.cache.spec).question_dependent()) {
      question += (question.empty() ? "" : ", ") + cost.cache.spec;
    }
  }
  std::string text = fmt::format("\nKV cache at {} tokens\n", context) + format_table(rows, 2);
  if (!question.empty()) {
    text += fmt::format("chosen by the prompt's last queries, for the question they ask: {}\n", question);
  }
  return text;
}

OrderedJson describe(const ModelInfo& info, const Model& model, const std::string& path) {
  OrderedJson json;
  json["path"] = path;
  json["container"] = info.container;
  json["file_bytes"] = info.file_bytes;
  json["name"] = info.name;
  json["architecture"] = info.architecture;
  json["parameters"] = info.parameters;
  json["layers"] = info.layers;
  json["width"] = info.width;
  json["ffn_width"] = info.ffn_width;
  json["query_heads"] = info.query_heads;
  json["kv_heads"] = info.kv_heads;
  json["head_dim"] = info.head_dim;
  json["sliding_window"] = info.sliding_window;
  json["context_length"] = info.context_length;
  json["rope_theta"] = info.rope_theta;
  json["rope_scaling"] = info.rope_scaling;
  json["vocabulary"] = info.vocabulary;
  json["tied_output"] = info.tied_output;
  json["has_tokenizer"] = info.has_tokenizer;
  json["bos"] = info.has_tokenizer ? model.bos() : -1;
  for (const auto& [type, bytes] : info.bytes_by_tensor_type) json["bytes_by_tensor_type"][type] = bytes;
  json["metadata"] = OrderedJson::object();
  for (const auto& [key, value] : info.metadata) json["metadata"][key] = value;
  return json;
}

OrderedJson describe(const Cost& cost) {
  OrderedJson json = to_json(cost.cache);
  json["prefill_memory"] = {{"hidden_states", cost.memory.hidden_states},
                            {"layer_kv", cost.memory.layer_kv},
                            {"scratch", cost.memory.scratch},
                            {"cache", cost.memory.cache},
                            {"total", cost.memory.total()}};
  return json;
}

int execute(const Arguments& arguments) {
  std::vector<CacheSpec> specs;
  for (const std::string& text : arguments.caches) specs.push_back(CacheSpec::parse(text));
  const auto model = arguments.model.load();
  const ModelInfo& info = model->info();
  const std::size_t context = arguments.context > 0 ? arguments.context : info.context_length;
  const std::vector<Cost> costs = estimate_costs(*model, specs, context);

  if (arguments.json) {
    OrderedJson json = describe(info, *model, arguments.model.model);
    json["cache_context"] = context;
    json["caches"] = OrderedJson::array();
    for (const Cost& cost : costs) json["caches"].push_back(describe(cost));
    write_output(dump(json));
    return 0;
  }
  write_output(format_model(info, *model, arguments.model.model));
  write_output(format_costs(costs, context));
  write_output("\nmetadata\n");
  for (const auto& [key, value] : info.metadata) {
    print_output("  {} = {}\n", printable(key), printable(value, 100));
  }
  return 0;
}

}  // namespace

Command add_inspect_command(CLI::App& program) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* app =
      program.add_subcommand("inspect", "Show what a model holds and what its KV cache will cost");
  app->add_option("MODEL,-m,--model", arguments->model.model, "A .gguf file or a Hugging Face directory")
      ->required()
      ->type_name("PATH");
  app->add_option("-c,--ctx-size", arguments->context, "Tokens in the cache; 0: the model's context length")
      ->check(within(std::size_t{0}, std::size_t{std::numeric_limits<std::int32_t>::max()}))
      ->type_name("N");
  app->add_option("--cache", arguments->caches, "A cache to show the cost of; may be repeated")
      ->type_name("SPEC")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app->add_flag("--json", arguments->json, "One JSON object instead of tables");
  add_examples(*app, {"thinkey inspect model.gguf",
                      "thinkey inspect model.gguf -c 32768 --cache full --cache snapkv:2048+think:0.4"});
  return {app, [arguments] { return execute(*arguments); }};
}

}  // namespace thinkey::cli
