// thinkey analyze: the two observations ThinK stands on, and what cache specs do to attention, on any model.
#include <algorithm>
#include <cstddef>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "base/fail.h"
#include "cli/commands.h"
#include "cli/eval_arguments.h"
#include "cli/input.h"
#include "cli/interrupt.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "eval/analysis/analysis_report.h"
#include "formats/text_file.h"

namespace thinkey::cli {
namespace {

struct Arguments {
  ModelArguments model;
  std::vector<std::string> specs;
  std::string prompt, file, json, html;
  std::size_t tokens = 0;  // 0: all
  std::vector<std::size_t> layers;
};

std::string text_of(const Arguments& arguments) {
  if (arguments.file.empty() && arguments.prompt.empty()) {
    fail_usage("analyze: no prompt; give -f FILE or -p TEXT");
  }
  std::string text = arguments.file.empty() ? "" : read_text(arguments.file);
  if (!text.empty() && !arguments.prompt.empty()) text += "\n\n";
  return text + arguments.prompt;
}

int execute(const Arguments& arguments) {
  std::vector<CacheSpec> specs;
  for (const std::string& spec : arguments.specs) specs.push_back(CacheSpec::parse(spec));
  for (const std::string* path : {&arguments.json, &arguments.html}) {
    if (!path->empty()) require_writable(*path);
  }
  const std::string text = text_of(arguments);
  const auto model = arguments.model.load();
  for (const std::size_t layer : arguments.layers) {
    if (layer >= model->info().layers) {
      fail_usage("--layers: the model has no layer {}, only 0 to {}", layer, model->info().layers - 1);
    }
  }
  std::vector<std::int32_t> ids = model->tokenize(text);
  if (arguments.tokens > 0 && ids.size() > arguments.tokens) {
    ids.resize(arguments.tokens);
  }
  catch_interrupts();
  eval::Analysis analysis;
  {
    PrefillProgress progress(ids.size(), standard_error_is_terminal());
    analysis = eval::analyze(*model, ids, specs, progress.callback());
  }
  publish(eval::analysis_report(analysis, arguments.layers), arguments.json, arguments.html);
  return 0;
}

}  // namespace

Command add_analyze_command(CLI::App& program) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* app =
      program.add_subcommand("analyze", "Channel magnitudes, ranks, and what caches do to attention");
  arguments->model.add_model(*app);
  app->add_option("-p,--prompt", arguments->prompt, "Text to run through the model")->type_name("TEXT");
  app->add_option("-f,--file", arguments->file,
                  "File of text to run, before --prompt; \"-\" is standard input")
      ->type_name("FILE");
  app->add_option("--tokens", arguments->tokens, "Only the first so many tokens of it; 0: all")
      ->check(within(std::size_t{0}, std::size_t{std::numeric_limits<std::int32_t>::max()}))
      ->type_name("N");
  app->add_option("--cache", arguments->specs, "A cache spec whose errors to measure; repeat it for several")
      ->type_name("SPEC")
      ->expected(1)
      ->take_all();
  app->add_option("--layers", arguments->layers,
                  "Layers that the figures show, such as 0,15,31; default: as many as a page can hold")
      ->delimiter(',')
      ->type_name("N,...");
  app->add_option("--json", arguments->json, "Write all figures as JSON")->type_name("FILE");
  app->add_option("--html", arguments->html, "Write the report as one HTML page with its figures")
      ->type_name("FILE");
  arguments->model.add_compute(*app);
  add_examples(*app, {"thinkey analyze -m model.gguf -f report.txt --html analysis.html",
                      "thinkey analyze -m model.gguf -f report.txt --cache snapkv:512+think:0.4 --cache "
                      "snapkv:512+think:0.8 --json analysis.json"});
  return {app, [arguments] { return execute(*arguments); }};
}

}  // namespace thinkey::cli
