// thinkey eval: measurements of what caches do to a model's answers.
#include <memory>
#include <string>
#include <vector>

#include "base/fail.h"
#include "cli/commands.h"
#include "cli/options.h"

namespace thinkey::cli {

Command add_eval_command(CLI::App& program) {
  CLI::App* app = program.add_subcommand("eval", "Evaluate cache specs on a model");
  app->require_subcommand(0, 1);
  auto children = std::make_shared<std::vector<Command>>();
  children->push_back(add_eval_needle_command(*app));
  children->push_back(add_eval_ruler_command(*app));
  children->push_back(add_eval_arithmetic_command(*app));
  children->push_back(add_eval_perplexity_command(*app));
  children->push_back(add_eval_kl_command(*app));
  children->push_back(add_eval_longbench_command(*app));
  children->push_back(add_eval_score_command(*app));
  app->allow_extras();  // so that an unknown word is ours to explain
  add_examples(
      *app, {"thinkey eval needle -m model.gguf --cache full --cache snapkv:10%+think:0.4 --html needle.html",
             "thinkey eval needle --help"});
  return {app, [app, children] {
            std::string names;
            for (const Command& child : *children) {
              if (child.app->parsed()) return child.execute();
              names += (names.empty() ? "" : ", ") + child.app->get_name();
            }
            const std::vector<std::string> words = app->remaining();
            if (words.empty()) fail_usage("eval: say what to evaluate; choose one of {}", names);
            fail_usage("eval: unknown evaluation \"{}\"; choose one of {}", words.front(), names);
          }};
}

}  // namespace thinkey::cli
