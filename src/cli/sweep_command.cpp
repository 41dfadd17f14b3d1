// thinkey sweep: which cache spec is best within so many bytes on these prompts?
#include <algorithm>
#include <charconv>
#include <cmath>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/fail.h"
#include "base/format_text.h"
#include "cli/commands.h"
#include "cli/eval_arguments.h"
#include "eval/run/sweep.h"

namespace thinkey::cli {
namespace {

struct Arguments {
  EvalArguments eval;
  eval::SweepOptions options;
  std::string prompts;
  std::string budget = "10%";
  std::size_t limit = 16;
  std::size_t levels = 3;
  std::size_t length = 2048;
};

// "10%" of `full` bytes, or a number of bytes such as "512KiB" and "2GiB".
std::size_t parse_budget(const std::string& text, std::size_t full) {
  if (text.ends_with('%')) {
    double percent = 0.0;
    const char* end = text.data() + text.size() - 1;
    const auto [stop, error] = std::from_chars(text.data(), end, percent);
    const double bytes = percent * static_cast<double>(full) / 100.0;
    if (error == std::errc() && stop == end && bytes >= 1.0 && bytes < 1e18) {
      return static_cast<std::size_t>(bytes);
    }
  } else if (const std::optional<std::size_t> bytes = parse_bytes(text); bytes.value_or(0) > 0) {
    return *bytes;
  }
  fail_usage("--budget: \"{}\" is not a number of bytes; write 512KiB, 2GiB, or 10% of the full cache", text);
}

int execute(Arguments& arguments) {
  arguments.eval.check_outputs();
  static_cast<void>(parse_budget(arguments.budget, 1U << 30U));
  eval::SweepOptions& options = arguments.options;
  if (!arguments.prompts.empty()) {
    options.prompts = eval::read_prompts(arguments.prompts, arguments.limit);
    options.name = arguments.prompts;
  }
  const auto model = arguments.eval.model.load();
  const eval::PromptEncoder encoder(model, arguments.eval.chat_use());
  options.context = arguments.eval.context;
  if (options.prompts.empty()) {
    const std::size_t context = options.context > 0 ? options.context : model->info().context_length;
    const std::size_t length = std::min(arguments.length, context - std::min(context, options.max_tokens));
    options.prompts = eval::needle_prompts(encoder, arguments.limit, length, 1);
    options.name = fmt::format("needles {}", length);
  }
  std::size_t longest = 0;
  for (const std::string& prompt : options.prompts) {
    longest = std::max(longest, encoder.encode(prompt).size());
  }
  const std::size_t full = model->estimate_cache({}, longest).full_bytes;
  const std::size_t budget = parse_budget(arguments.budget, full);
  if (arguments.eval.specs.empty()) {
    std::vector<std::string>& specs = arguments.eval.specs;
    std::size_t level = budget;
    for (std::size_t i = 0; i < arguments.levels; ++i, level /= 2) {
      for (const CacheSpec& spec : eval::specs_within(*model, longest, level)) {
        const std::string name = spec.to_string();
        if (std::find(specs.begin(), specs.end(), name) == specs.end()) specs.push_back(name);
      }
    }
    if (specs.empty()) {
      fail_data("no spec fits a prompt of {} tokens into {} bytes; give a larger --budget", longest, budget);
    }
  }
  return arguments.eval.run(sweep_task(model, arguments.eval.chat_use(), options), *model,
                            [budget](const eval::RunIdentity& identity, const eval::RunOutcome& outcome) {
                              return eval::sweep_report(identity, outcome, budget);
                            });
}

}  // namespace

Command add_sweep_command(CLI::App& program) {
  auto arguments = std::make_shared<Arguments>();
  arguments->eval.specs.clear();
  CLI::App* app = program.add_subcommand("sweep", "Find the best cache spec within a number of bytes");
  arguments->eval.add(*app);
  arguments->eval.add_chat(*app);
  app->add_option("--budget", arguments->budget,
                  "Most bytes of the cache: 512KiB, 2GiB, or 10% of the full one")
      ->type_name("BYTES");
  app->add_option(
         "--prompts", arguments->prompts,
         "JSON lines with \"prompt\", or \"document\" and \"question\"; default: documents of our own "
         "generator")
      ->type_name("FILE");
  app->add_option("--limit", arguments->limit, "Most prompts")
      ->check(within(std::size_t{1}, std::size_t{1} << 30U))
      ->type_name("N");
  app->add_option("--length", arguments->length, "Tokens of the generator's documents")
      ->check(within(std::size_t{64}, std::size_t{1} << 30U))
      ->type_name("N");
  app->add_option("--levels", arguments->levels,
                  "Also try specs for a half, a quarter, ... of the budget: so many in all")
      ->check(within(std::size_t{1}, std::size_t{20}))
      ->type_name("N");
  app->add_option("-n,--n-predict", arguments->options.max_tokens,
                  "Most tokens of the answers that are compared")
      ->check(within(std::size_t{1}, std::size_t{1} << 20U))
      ->type_name("N");
  add_examples(*app,
               {"thinkey sweep -m model.gguf --prompts questions.jsonl --budget 64MiB --html sweep.html",
                "thinkey sweep -m models/thinkey-needle.gguf --budget 10%"});
  return {app, [arguments] { return execute(*arguments); }};
}

}  // namespace thinkey::cli
