// thinkey eval longbench: the public benchmark's files, scored as its own script scores them.
#include <algorithm>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "base/fail.h"
#include "cli/commands.h"
#include "cli/eval_arguments.h"
#include "cli/score_arguments.h"
#include "eval/longbench/longbench.h"

namespace thinkey::cli {
namespace {

struct Arguments {
  EvalArguments eval;
  ScoreArguments score;
  std::string data;
  std::vector<std::string> tasks;
  bool extended = false;
  std::size_t limit = 0;  // samples of each task; 0: all
  std::size_t max_length = 0;
};

int execute(Arguments& arguments) {
  arguments.eval.check_outputs();
  const std::size_t limit = arguments.limit > 0 ? static_cast<std::size_t>(arguments.limit)
                                                : std::numeric_limits<std::size_t>::max();
  eval::LongBenchPrompts prompts = eval::read_longbench_prompts(arguments.data);
  std::vector<eval::LongBenchFile> files =
      eval::read_longbench(arguments.data, arguments.tasks, arguments.extended, limit);
  const bool english = std::all_of(files.begin(), files.end(), [](const eval::LongBenchFile& file) {
    return eval::longbench_task(file.task).english;
  });
  const auto segmenter =
      english ? std::make_shared<const eval::ChineseSegmenter>() : arguments.score.segmenter();
  const auto model = arguments.eval.model.load();
  const eval::Task task = eval::longbench_evaluation(model, std::move(files), std::move(prompts), segmenter,
                                                     {.chat = arguments.eval.chat_use(),
                                                      .context = arguments.eval.context,
                                                      .max_length = arguments.max_length,
                                                      .edit_ratio = arguments.score.edit_ratio()});
  return arguments.eval.run(task, *model, eval::longbench_report);
}

}  // namespace

Command add_eval_longbench_command(CLI::App& eval) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* app = eval.add_subcommand("longbench", "The LongBench benchmark, from its public files");
  arguments->eval.add(*app);
  arguments->eval.add_chat(*app);
  app->add_option(
         "--data", arguments->data,
         "Directory with LongBench's NAME.jsonl files (there or in data/), and dataset2prompt.json and "
         "dataset2maxlen.json (there or in config/), without which prompts of our own wording are used")
      ->required()
      ->type_name("DIR");
  app->add_option("--tasks", arguments->tasks,
                  "Tasks such as qasper,hotpotqa; default: every file that is there")
      ->delimiter(',')
      ->type_name("NAME,...");
  app->add_flag("-e,--extended", arguments->extended,
                "LongBench-E: the NAME_e.jsonl files, and scores by length");
  app->add_option("--limit", arguments->limit, "Only the first so many samples of each task; 0: all")
      ->check(within(std::size_t{0}, std::size_t{1} << 31U))
      ->type_name("N");
  app->add_option("--max-length", arguments->max_length,
                  "Most tokens of a prompt before the chat template; longer ones lose their middle; 0: what "
                  "the context leaves")
      ->check(within(std::size_t{0}, std::size_t{std::numeric_limits<std::int32_t>::max()}))
      ->type_name("N");
  arguments->score.add(*app);
  add_examples(
      *app,
      {"thinkey eval longbench -m model.gguf --data LongBench --cache full --cache snapkv:2048+think:0.4",
       "thinkey eval longbench -m model.gguf --data LongBench --tasks qasper,hotpotqa --limit 20 --html "
       "longbench.html"});
  return {app, [arguments] { return execute(*arguments); }};
}

}  // namespace thinkey::cli
