// thinkey bench: speeds and bytes, as shares of what the machine can do.
#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/fail.h"
#include "base/parallel.h"
#include "cli/bench_run.h"
#include "cli/commands.h"
#include "cli/input.h"
#include "cli/interrupt.h"
#include "cli/machine_limits.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/report.h"

namespace thinkey::cli {

namespace {

struct Arguments {
  ModelArguments model;
  std::vector<std::size_t> prompts = {512, 8192};
  std::vector<std::size_t> batches = {1};
  std::vector<std::string> specs = {"full"};
  std::size_t generate = 32;
  std::size_t repeats = 1;
  bool together = false;
  bool json = false;
  std::string baseline;
};

// Figures of an earlier run by row, as shares of that run's limits; empty without --baseline.
using Shares = std::map<std::string, double>;

std::string row_name(const PrefillFigures& row) {
  return fmt::format("prefill {} {}", row.tokens, row.cache);
}
std::string row_name(const DecodeFigures& row) {
  return fmt::format("decode {} x{} {}", row.depth, row.batch, row.cache);
}

double rate_share(const PrefillFigures& row, const MachineLimits& limits) {
  const double least = row.operations.weights / limits.weight_products_per_second +
                       row.operations.attention / limits.products_per_second;
  return least / row.seconds;
}
double rate_share(const DecodeFigures& row) {
  return static_cast<double>(row.bytes) / row.seconds / row.read_bytes_per_second;
}

Shares read_baseline(const std::string& path) {
  Shares shares;
  if (path.empty()) return shares;
  const OrderedJson json = OrderedJson::parse(read_file(path), nullptr, false);
  for (const char* kind : {"prefill", "decode"}) {
    if (!json.is_object() || !json.contains(kind) || !json[kind].is_array()) {
      fail_data("{}: not what thinkey bench --json writes; it has no list \"{}\"", path, kind);
    }
    for (const auto& row : json[kind]) {
      if (!row.is_object() || !row.value("name", OrderedJson()).is_string() ||
          !row.value("share_of_limit", OrderedJson()).is_number()) {
        fail_data("{}: a row of \"{}\" lacks its name or share_of_limit; write it anew with --json", path,
                  kind);
      }
      shares[row["name"].get<std::string>()] = row["share_of_limit"].get<double>();
    }
  }
  return shares;
}

// "1.03x" of the share that the same row had.
std::string against(const Shares& baseline, const std::string& name, double share) {
  const auto found = baseline.find(name);
  if (found == baseline.end() || found->second <= 0.0) return "-";
  return fmt::format("{:.2f}x", share / found->second);
}

std::string percent(double share) { return fmt::format("{:.0f} %", 100.0 * share); }

void print_tables(const BenchFigures& figures, const MachineLimits& limits, const Shares& baseline) {
  std::vector<std::vector<std::string>> rows;
  const auto add = [&](std::vector<std::string> row, std::string compared) {
    if (!baseline.empty()) row.push_back(std::move(compared));
    rows.push_back(std::move(row));
  };
  add({"prefill", "tokens", "tokens/s", "GFLOP/s", "of limit", "hidden", "layer K/V", "scratch", "cache",
       "resident"},
      "baseline");
  for (const PrefillFigures& f : figures.prefill) {
    const double share = rate_share(f, limits);
    add({f.cache, fmt::format("{}", f.tokens),
         fmt::format("{:.1f}", static_cast<double>(f.tokens) / f.seconds),
         fmt::format("{:.0f}", f.operations.total() / f.seconds * 1e-9), percent(share),
         format_bytes(f.memory.hidden_states), format_bytes(f.memory.layer_kv),
         format_bytes(f.memory.scratch), format_bytes(f.memory.cache), format_bytes(f.memory.resident)},
        against(baseline, row_name(f), share));
  }
  if (rows.size() > 1) print_output("{}\n", format_table(rows));
  rows.clear();
  add({"decode", "depth", "batch", "ms/step", "x empty", "tokens/s", "bytes/step", "GB/s", "read GB/s",
       "of read", "cache each"},
      "baseline");
  for (const DecodeFigures& f : figures.decode) {
    const double share = rate_share(f);
    add({f.cache, fmt::format("{}", f.depth), fmt::format("{}", f.batch),
         fmt::format("{:.2f}", 1e3 * f.seconds), fmt::format("{:.2f}", f.seconds / f.empty_seconds),
         fmt::format("{:.1f}", static_cast<double>(f.batch) / f.seconds), format_bytes(f.bytes),
         fmt::format("{:.1f}", static_cast<double>(f.bytes) / f.seconds * 1e-9),
         fmt::format("{:.1f}", f.read_bytes_per_second * 1e-9), percent(share), format_bytes(f.cache_bytes)},
        against(baseline, row_name(f), share));
  }
  if (rows.size() > 1) print_output("{}", format_table(rows));
}

OrderedJson to_json(const BenchFigures& figures, const MachineLimits& limits, const ModelInfo& model) {
  OrderedJson json;
  json["model"] = {{"name", model.name},
                   {"parameters", model.parameters},
                   {"file_bytes", model.file_bytes},
                   {"decode_bytes", model.decode_bytes}};
  json["threads"] = threads();
  json["limits"] = {{"read_bytes_per_second", limits.read_bytes_per_second},
                    {"products_per_second", limits.products_per_second},
                    {"weight_products_per_second", limits.weight_products_per_second}};
  json["prefill"] = OrderedJson::array();
  for (const PrefillFigures& f : figures.prefill) {
    json["prefill"].push_back({{"name", row_name(f)},
                               {"cache", f.cache},
                               {"tokens", f.tokens},
                               {"seconds", f.seconds},
                               {"tokens_per_second", static_cast<double>(f.tokens) / f.seconds},
                               {"operations_per_second", f.operations.total() / f.seconds},
                               {"share_of_limit", rate_share(f, limits)},
                               {"hidden_bytes", f.memory.hidden_states},
                               {"layer_kv_bytes", f.memory.layer_kv},
                               {"scratch_bytes", f.memory.scratch},
                               {"cache_bytes", f.memory.cache},
                               {"resident_bytes", f.memory.resident}});
  }
  json["decode"] = OrderedJson::array();
  for (const DecodeFigures& f : figures.decode) {
    json["decode"].push_back({{"name", row_name(f)},
                              {"cache", f.cache},
                              {"depth", f.depth},
                              {"batch", f.batch},
                              {"seconds_per_step", f.seconds},
                              {"seconds_per_step_empty", f.empty_seconds},
                              {"tokens_per_second", static_cast<double>(f.batch) / f.seconds},
                              {"bytes_per_step", f.bytes},
                              {"bytes_per_second", static_cast<double>(f.bytes) / f.seconds},
                              {"read_bytes_per_second", f.read_bytes_per_second},
                              {"share_of_limit", rate_share(f)},
                              {"cache_bytes", f.cache_bytes}});
  }
  return json;
}

int execute(const Arguments& arguments) {
  BenchSettings settings{.prompts = arguments.prompts,
                         .specs = {},
                         .batches = arguments.batches,
                         .generate = arguments.generate,
                         .repeats = arguments.repeats,
                         .together = arguments.together};
  for (const std::string& text : arguments.specs) settings.specs.push_back(CacheSpec::parse(text));
  const Shares baseline = read_baseline(arguments.baseline);
  const auto model = arguments.model.load();
  catch_interrupts();
  const std::string& arithmetic = model->info().prefill_arithmetic;
  const Precision precision = arithmetic.starts_with("bf16") ? Precision::BF16 : Precision::F32;
  const bool int8 = model->info().quantized && arithmetic.ends_with("int8");
  const MachineLimits before = measure_limits(precision, int8);
  const bool visible = standard_error_is_terminal();
  const BenchFigures figures = run_bench(model, settings, [&](const std::string& what) {
    if (visible) print_message("\r\033[K{}", what);
  });
  if (visible) print_message("\r\033[K");
  // The machine may have been disturbed at one moment: the better of two counts.
  const MachineLimits after = measure_limits(precision, int8);
  const MachineLimits limits{
      .read_bytes_per_second = std::max(before.read_bytes_per_second, after.read_bytes_per_second),
      .products_per_second = std::max(before.products_per_second, after.products_per_second),
      .weight_products_per_second =
          std::max(before.weight_products_per_second, after.weight_products_per_second)};
  if (arguments.json) {
    write_output(dump(to_json(figures, limits, model->info())));
    return 0;
  }
  print_output("{}: {:.2f} billion parameters, {} of weights read per decode step, {} threads\n",
               model->info().name, static_cast<double>(model->info().parameters) * 1e-9,
               format_bytes(model->info().decode_bytes), threads());
  print_output(
      "limits measured in this run: read {:.1f} GB/s at best, {} matrix products {:.0f} GFLOP/s{}\n\n",
      limits.read_bytes_per_second * 1e-9, precision == Precision::BF16 ? "bf16" : "f32",
      limits.products_per_second * 1e-9,
      int8 ? fmt::format(", int8 {:.0f}", limits.weight_products_per_second * 1e-9) : "");
  print_tables(figures, limits, baseline);
  return 0;
}

}  // namespace

Command add_bench_command(CLI::App& program) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* app = program.add_subcommand("bench", "Measure speed and memory against the machine's limits");
  arguments->model.add_model(*app);
  app->add_option("-p,--n-prompt", arguments->prompts, "Prompt lengths, comma-separated; 0: empty context")
      ->delimiter(',')
      ->check(within(std::size_t{0}, std::size_t{1} << 24))
      ->type_name("N,...");
  app->add_option("-n,--n-gen", arguments->generate, "Decode steps after each prompt; 0: none")
      ->check(within(std::size_t{0}, std::size_t{1} << 20))
      ->type_name("N");
  app->add_option("-b,--batch", arguments->batches, "Sequences decoded in one step, comma-separated")
      ->delimiter(',')
      ->check(within(std::size_t{1}, std::size_t{1024}))
      ->type_name("N,...");
  app->add_option("-r,--repetitions", arguments->repeats, "Prefills per row; the median is shown")
      ->check(within(std::size_t{1}, std::size_t{1000}))
      ->type_name("N");
  app->add_option("--cache", arguments->specs, "A cache spec; repeat it to compare")->type_name("SPEC");
  app->add_flag("--together", arguments->together,
                "One prefill serves all specs: quicker, but its time and memory are those of all");
  app->add_flag("--json", arguments->json, "JSON instead of tables");
  app->add_option("--baseline", arguments->baseline,
                  "JSON of an earlier run: adds each row's share of the limit over what it was then")
      ->type_name("FILE");
  arguments->model.add_compute(*app);
  add_examples(*app,
               {"thinkey bench -m model.gguf -p 0,8192 --cache full --cache snapkv:2048+think:0.4,form=paper",
                "thinkey bench -m model.gguf -p 8192 -b 1,2,4,8 --json > baseline.json",
                "thinkey bench -m model.gguf -p 8192 -b 1,2,4,8 --baseline baseline.json"});
  return {app, [arguments] { return execute(*arguments); }};
}

}  // namespace thinkey::cli
