#include "cli/eval_arguments.h"

#include <charconv>
#include <limits>
#include <span>

#include "base/atomic_file.h"
#include "base/fail.h"
#include "cli/eval_progress.h"
#include "cli/interrupt.h"
#include "cli/output.h"
#include "cli/progress.h"

namespace thinkey::cli {
namespace {

void write_file(const std::string& path, const std::string& text) {
  AtomicFile file(path);
  file.write(std::as_bytes(std::span(text)));
  file.commit();
}

}  // namespace

void EvalArguments::add(CLI::App& app) {
  model.add_model(app);
  app.add_option("--cache", specs, "A cache spec to evaluate; repeat it for several on the same samples")
      ->type_name("SPEC")
      ->expected(1)
      ->take_all();
  app.add_option("-c,--ctx-size", context, "Most tokens of prompt and answer; 0: the model's context length")
      ->check(within(std::size_t{0}, std::size_t{std::numeric_limits<std::int32_t>::max()}))
      ->type_name("N");
  app.add_option(
         "--results", results,
         "File of one JSON line per sample and spec, from which an interrupted run goes on; default: a "
         "name made from task, model and settings in thinkey-results/")
      ->type_name("FILE");
  app.add_flag("--fresh", fresh, "Start over instead of going on from the result file");
  app.add_option("--json", json, "Write the figures as JSON")->type_name("FILE");
  app.add_option("--markdown", markdown, "Write the tables as Markdown")->type_name("FILE");
  app.add_option("--html", html, "Write the report as one HTML page with its figures")->type_name("FILE");
  model.add_compute(app);
}

void EvalArguments::add_chat(CLI::App& app) {
  app.add_option("--chat", chat, "Ask as a chat user: auto (if the model has a chat template), yes or no")
      ->check(CLI::IsMember({"auto", "yes", "no"}))
      ->type_name("WHEN");
}

std::vector<CacheSpec> EvalArguments::parse_specs() const {
  std::vector<CacheSpec> parsed;
  parsed.reserve(specs.size());
  for (const std::string& spec : specs) parsed.push_back(CacheSpec::parse(spec));
  return parsed;
}

eval::ChatUse EvalArguments::chat_use() const {
  if (chat == "yes") return eval::ChatUse::Always;
  return chat == "no" ? eval::ChatUse::Never : eval::ChatUse::Auto;
}

void EvalArguments::check_outputs() const {
  static_cast<void>(parse_specs());
  for (const std::string* path : {&json, &markdown, &html}) {
    if (path->empty()) continue;
    require_writable(*path, path == &json ? "--json" : path == &html ? "--html" : "--markdown");
  }
}

int EvalArguments::run(const eval::Task& task, const Model& loaded, const MakeReport& make_report) const {
  catch_interrupts();
  const eval::RunIdentity identity = eval::identify(task, loaded);
  const std::string path =
      results.empty() ? eval::default_result_path("thinkey-results", identity).string() : results;
  const std::vector<CacheSpec> caches = parse_specs();
  eval::RunOutcome outcome;
  EvalProgress progress(task.name, standard_error_is_terminal());
  const eval::Hooks hooks = progress.hooks();
  eval::ResultFile file(path, identity, fresh, hooks);
  try {
    outcome = eval::run(task, caches, file, hooks);
  } catch (const Interrupted&) {
    progress.finish();
    outcome = eval::complete_part(task, caches, file);
    // To standard output only: report files that are asked for are of whole runs.
    if (!outcome.records.empty()) publish(make_report(identity, outcome), {}, {});
    print_message("thinkey: what was measured is in {}; the same command goes on from there\n", path);
    throw;
  }
  progress.finish();
  if (outcome.records.empty()) {
    fail_data("no sample could be measured; the first was left out: {}",
              outcome.skipped.empty() ? "" : outcome.skipped.front().second);
  }
  if (outcome.resumed > 0) print_message("thinkey: {} results were in {} already\n", outcome.resumed, path);
  publish(make_report(identity, outcome), json, html, markdown);
  return 0;
}

void publish(const eval::Report& report, const std::string& json, const std::string& html,
             const std::string& markdown) {
  write_output(eval::report_text(report));
  flush_output();
  if (!json.empty()) write_file(json, report.json);
  if (!html.empty()) write_file(html, eval::report_html(report));
  if (!markdown.empty()) write_file(markdown, eval::report_markdown(report));
}

std::vector<std::size_t> parse_counts(const std::string& option, const std::vector<std::string>& words) {
  std::vector<std::size_t> counts;
  for (const std::string& word : words) {
    std::size_t count = 0;
    const char* end = word.data() + word.size();
    auto [stop, error] = std::from_chars(word.data(), end, count);
    std::size_t unit = 1;
    if (error == std::errc() && stop + 1 == end && (*stop == 'k' || *stop == 'K')) {
      unit = 1024;
      ++stop;
    }
    if (error != std::errc() || stop != end || count <= 0 ||
        count > std::numeric_limits<std::int32_t>::max() / unit) {
      fail_usage("{}: \"{}\" is not a number of tokens; write 4096 or 4k", option, word);
    }
    counts.push_back(count * unit);
  }
  return counts;
}

}  // namespace thinkey::cli
