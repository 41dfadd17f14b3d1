// thinkey eval arithmetic: word problems answered with a chain of thought.
#include <memory>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "cli/eval_arguments.h"
#include "eval/arithmetic/arithmetic.h"

namespace thinkey::cli {
namespace {

struct Arguments {
  EvalArguments eval;
  eval::ArithmeticOptions options;
};

int execute(Arguments& arguments) {
  arguments.eval.check_outputs();
  const auto model = arguments.eval.model.load();
  warn_of_context(*model, arguments.eval.context);
  arguments.options.context = arguments.eval.context;
  const eval::Task task = arithmetic_task(model, arguments.eval.chat_use(), arguments.options);
  return arguments.eval.run(task, *model, eval::arithmetic_report);
}

}  // namespace

Command add_eval_arithmetic_command(CLI::App& eval) {
  auto arguments = std::make_shared<Arguments>();
  eval::ArithmeticOptions& options = arguments->options;
  CLI::App* app = eval.add_subcommand(
      "arithmetic", "Word problems answered with a chain of thought, compressed while it is generated");
  arguments->eval.add(*app);
  arguments->eval.add_chat(*app);
  app->add_option("--steps", options.steps, "Steps of a problem: 4,8")
      ->delimiter(',')
      ->check(within(std::size_t{1}, std::size_t{64}))
      ->type_name("N,...");
  app->add_option("--samples", options.samples, "Per number of steps")
      ->check(within(std::size_t{1}, std::size_t{100000}))
      ->type_name("N");
  app->add_option("--shots", options.shots, "Worked examples before the problem")
      ->check(within(std::size_t{0}, std::size_t{1000}))
      ->type_name("N");
  app->add_option("-n,--n-predict", options.max_tokens, "Most tokens of an answer")
      ->check(within(std::size_t{1}, std::size_t{1} << 20U))
      ->type_name("N");
  app->add_option("--seed", options.seed, "Of the problems")->check(whole_number())->type_name("N");
  add_examples(
      *app, {"thinkey eval arithmetic -m model.gguf --steps 4,8 --cache full --cache turbo:4 --cache kivi:2",
             "thinkey eval arithmetic -m model.gguf --shots 8 --cache rkv:256,every=32"});
  return {app, [arguments] { return execute(*arguments); }};
}

}  // namespace thinkey::cli
