// thinkey eval needle: does a fact survive, wherever it stands in a long document?
#include <charconv>
#include <memory>
#include <string>
#include <vector>

#include "base/fail.h"
#include "cli/commands.h"
#include "cli/eval_arguments.h"
#include "eval/needle/needle.h"
#include "formats/printable.h"

namespace thinkey::cli {
namespace {

struct Arguments {
  EvalArguments eval;
  eval::NeedleOptions options;
  std::vector<std::string> lengths;
  std::vector<std::string> depths = {"0", "25", "50", "75", "100"};
  std::string haystack;  // a directory; "" for prose
  std::string score = "substring";
};

// "0,50,100", or with percent signs. One bare number could as well be meant as how many.
std::vector<double> parse_depths(const std::vector<std::string>& words) {
  std::vector<double> depths;
  for (const std::string& word : words) {
    double depth = 0.0;
    const char* end = word.data() + word.size();
    const auto [stop, error] = std::from_chars(word.data(), end, depth);
    const std::string_view unit(stop, static_cast<std::size_t>(end - stop));
    if (error != std::errc() || (!unit.empty() && unit != "%") || !(depth >= 0.0 && depth <= 100.0)) {
      fail_usage("--depths: \"{}\" is not a percentage from 0 to 100", printable(word, 40));
    }
    if (words.size() == 1 && unit.empty()) {
      fail_usage(
          "--depths {}: write {}% for the one depth of {} percent, or several depths such as 0,25,50,75,100",
          depth, depth, depth);
    }
    depths.push_back(depth);
  }
  return depths;
}

int execute(Arguments& arguments) {
  eval::NeedleOptions& options = arguments.options;
  options.lengths = parse_counts("--lengths", arguments.lengths);
  options.depths = parse_depths(arguments.depths);
  options.rouge = arguments.score == "rouge1";
  arguments.eval.check_outputs();
  eval::Haystack haystack;
  if (!arguments.haystack.empty()) {
    const std::string text = eval::read_directory(arguments.haystack);
    haystack = eval::Haystack(eval::sentences_of(text));
    options.haystack = eval::text_record(arguments.haystack, text);
  }
  const auto model = arguments.eval.model.load();
  warn_of_context(*model, arguments.eval.context);
  options.context = arguments.eval.context;
  if (options.lengths.empty()) {
    options.lengths =
        eval::default_lengths(options.context > 0 ? options.context : model->info().context_length);
  }
  const eval::Task task = needle_task(model, arguments.eval.chat_use(), std::move(haystack), options);
  return arguments.eval.run(task, *model, eval::needle_report);
}

}  // namespace

Command add_eval_needle_command(CLI::App& eval) {
  auto arguments = std::make_shared<Arguments>();
  eval::NeedleOptions& options = arguments->options;
  CLI::App* app = eval.add_subcommand("needle", "A fact hidden in documents of many lengths, at many depths");
  arguments->eval.add(*app);
  arguments->eval.add_chat(*app);
  app->add_option(
         "--lengths", arguments->lengths,
         "Tokens of prompt and answer: 1024,2048 or 1k,2k; default: 1k, 2k, 4k, ... up to the context")
      ->delimiter(',')
      ->type_name("N,...");
  app->add_option("--depths", arguments->depths,
                  "Percent of the document before the needle: 0,50,100; one depth alone with its sign: 5%")
      ->delimiter(',')
      ->type_name("P,...");
  app->add_option("--repeats", options.repeats, "Samples per length and depth")
      ->check(within(std::size_t{1}, std::size_t{100000}))
      ->type_name("N");
  app->add_option("--needle", options.needle, "The fact; {key} and {value} become a new name and number")
      ->type_name("TEXT");
  app->add_option("--question", options.question, "What is asked about it at the end")->type_name("TEXT");
  app->add_option("--answer", options.answer, "What the answer must hold")->type_name("TEXT");
  app->add_option("--score", arguments->score, "substring, or rouge1 (recall of the answer's words)")
      ->check(CLI::IsMember({"substring", "rouge1"}))
      ->type_name("NAME");
  app->add_option("--haystack", arguments->haystack, "Text files to hide it in; default: synthetic prose")
      ->type_name("DIR");
  app->add_option("-n,--n-predict", options.max_tokens, "Most tokens of an answer")
      ->check(within(std::size_t{1}, std::size_t{1} << 20U))
      ->type_name("N");
  app->add_option("--seed", options.seed, "Of the documents and facts")
      ->check(whole_number())
      ->type_name("N");
  add_examples(
      *app,
      {"thinkey eval needle -m models/thinkey-needle.gguf --lengths 1k,2k,4k --cache full --cache snapkv:10% "
       "--cache snapkv:10%,kernel=7,pool=max+think:0.5 --html needle.html --json needle.json",
       "thinkey eval needle -m model.gguf --haystack essays/ --score rouge1 --needle \"The best thing to do "
       "in "
       "Lisbon is to ride tram 28 on a sunny day.\" --question \"What is the best thing to do in Lisbon?\" "
       "--answer \"ride tram 28 on a sunny day\" --cache full --cache snapkv:2048+think:0.4"});
  return {app, [arguments] { return execute(*arguments); }};
}

}  // namespace thinkey::cli
