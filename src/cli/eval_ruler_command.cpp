// thinkey eval ruler: RULER's kinds of long-context questions.
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/fail.h"
#include "cli/commands.h"
#include "cli/eval_arguments.h"
#include "cli/input.h"
#include "eval/needle/needle.h"
#include "eval/ruler/ruler.h"

namespace thinkey::cli {
namespace {

struct Arguments {
  EvalArguments eval;
  eval::RulerOptions options;
  std::vector<std::string> lengths;
  std::string haystack, qa_1, qa_2;  // a directory and two files; "" for made up ones
};

std::vector<eval::Passages> passages(const std::string& path, std::string& record) {
  if (path.empty()) return {};
  record = eval::text_record(path, read_file(path));
  return eval::read_passages(path);
}

int execute(Arguments& arguments) {
  eval::RulerOptions& options = arguments.options;
  options.lengths = parse_counts("--lengths", arguments.lengths);
  arguments.eval.check_outputs();
  eval::RulerSources sources;
  if (!arguments.haystack.empty()) {
    const std::string text = eval::read_directory(arguments.haystack);
    sources.haystack = eval::Haystack(eval::sentences_of(text));
    options.haystack = eval::text_record(arguments.haystack, text);
  }
  sources.single_hop = passages(arguments.qa_1, options.qa_1);
  sources.multi_hop = passages(arguments.qa_2, options.qa_2);
  const auto model = arguments.eval.model.load();
  warn_of_context(*model, arguments.eval.context);
  options.context = arguments.eval.context;
  if (options.lengths.empty()) {
    options.lengths =
        eval::default_lengths(options.context > 0 ? options.context : model->info().context_length);
  }
  const eval::Task task = ruler_task(model, arguments.eval.chat_use(), std::move(sources), options);
  return arguments.eval.run(task, *model, eval::ruler_report);
}

}  // namespace

Command add_eval_ruler_command(CLI::App& eval) {
  auto arguments = std::make_shared<Arguments>();
  eval::RulerOptions& options = arguments->options;
  CLI::App* app =
      eval.add_subcommand("ruler", "RULER's thirteen tasks at many lengths, by our own generators");
  arguments->eval.add(*app);
  arguments->eval.add_chat(*app);
  app->add_option(
         "--tasks", options.tasks,
         "Among niah_single_1..3, niah_multikey_1..3, niah_multivalue, niah_multiquery, vt, cwe, fwe, qa_1, "
         "qa_2; default: all")
      ->delimiter(',')
      ->type_name("NAME,...");
  app->add_option(
         "--lengths", arguments->lengths,
         "Tokens of prompt and answer: 4096,8192 or 4k,8k; default: 1k, 2k, 4k, ... up to the context")
      ->delimiter(',')
      ->type_name("N,...");
  app->add_option("--samples", options.samples, "Per task and length")
      ->check(within(std::size_t{1}, std::size_t{100000}))
      ->type_name("N");
  app->add_option("--haystack", arguments->haystack,
                  "Text files for the needle tasks; default: synthetic prose")
      ->type_name("DIR");
  app->add_option(
         "--qa1", arguments->qa_1,
         "JSON lines {\"question\", \"answers\": [...], \"passages\": [...]} for qa_1 (one passage answers); "
         "default: made-up passages")
      ->type_name("FILE");
  app->add_option("--qa2", arguments->qa_2, "The same for qa_2 (several passages together answer)")
      ->type_name("FILE");
  app->add_option("--seed", options.seed, "Of the samples")->check(whole_number())->type_name("N");
  add_examples(*app,
               {"thinkey eval ruler -m model.gguf --lengths 4k,8k --cache full --cache snapkv:20%+think:0.4",
                "thinkey eval ruler -m model.gguf --tasks qa_1 --qa1 squad.jsonl --html ruler.html"});
  return {app, [arguments] { return execute(*arguments); }};
}

}  // namespace thinkey::cli
