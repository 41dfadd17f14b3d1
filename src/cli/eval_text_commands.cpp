// thinkey eval perplexity and thinkey eval kl: a text's next-token distributions under compressed caches.
#include <memory>
#include <string>
#include <vector>

#include "base/fail.h"
#include "cli/commands.h"
#include "cli/eval_arguments.h"
#include "cli/input.h"
#include "eval/text/perplexity.h"

namespace thinkey::cli {
namespace {

constexpr std::size_t kMostTokens = std::size_t{1} << 31U;

struct Arguments {
  EvalArguments eval;
  std::string file;
  eval::PerplexityOptions perplexity;
  std::int64_t chunks = -1;
  eval::DivergenceOptions divergence;

  [[nodiscard]] std::string text() const { return read_text(file); }
};

void add_file(CLI::App& app, std::string& file) {
  app.add_option("-f,--file", file, "The text, UTF-8; -: standard input")->required()->type_name("FILE");
}

int execute_perplexity(Arguments& arguments) {
  arguments.eval.check_outputs();
  eval::PerplexityOptions& options = arguments.perplexity;
  options.text = arguments.text();
  if (options.text.ends_with('\n')) options.text.pop_back();  // as llama.cpp reads a file
  options.name = arguments.file;
  const auto model = arguments.eval.model.load();
  options.chunks = limit_of(arguments.chunks);
  if (arguments.eval.context > 0) options.chunk = arguments.eval.context;
  return arguments.eval.run(perplexity_task(model, options), *model, eval::perplexity_report);
}

int execute_kl(Arguments& arguments) {
  arguments.eval.check_outputs();
  eval::DivergenceOptions& options = arguments.divergence;
  options.text = arguments.text();
  options.name = arguments.file;
  options.context = arguments.eval.context;
  const auto model = arguments.eval.model.load();
  ModelArguments as_run = arguments.eval.model;
  as_run.decode_precision = ModelArguments{}.decode_precision;
  if (as_run.decode_precision != arguments.eval.model.decode_precision) {
    options.as_run = as_run.load();
    if (options.as_run->info().decode_arithmetic == model->info().decode_arithmetic) options.as_run.reset();
  }
  return arguments.eval.run(divergence_task(model, options), *model, eval::divergence_report);
}

}  // namespace

Command add_eval_perplexity_command(CLI::App& eval) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* app = eval.add_subcommand(
      "perplexity",
      "Perplexity of a text as llama.cpp's tool counts it (chunks of -c tokens, 512 by default)");
  arguments->eval.add(*app);
  add_file(*app, arguments->file);
  app->add_option("--chunks", arguments->chunks, "Most chunks to score; -1: all")
      ->check(within(std::int64_t{-1}, std::int64_t{kMostTokens}))
      ->type_name("N");
  add_examples(*app, {"thinkey eval perplexity -m model.gguf -f wiki.test.raw -c 512",
                      "thinkey eval perplexity -m model.gguf -f book.txt -c 4096 --cache full --cache "
                      "snapkv:25%+think:0.4 --html perplexity.html"});
  return {app, [arguments] { return execute_perplexity(*arguments); }};
}

Command add_eval_kl_command(CLI::App& eval) {
  auto arguments = std::make_shared<Arguments>();
  eval::DivergenceOptions& options = arguments->divergence;
  arguments->eval.model.decode_precision = "f32";  // the cache's error alone, not that of 8-bit activations
  CLI::App* app = eval.add_subcommand(
      "kl", "How far next-token distributions move from the full cache's on long continuations");
  arguments->eval.add(*app);
  add_file(*app, arguments->file);
  app->add_option("--prompt", options.prompt, "Tokens that are prefilled and compressed")
      ->check(within(std::size_t{1}, kMostTokens))
      ->type_name("N");
  app->add_option("--continuation", options.continuation, "Tokens that are then fed one by one")
      ->check(within(std::size_t{1}, kMostTokens))
      ->type_name("N");
  app->add_option("--samples", options.samples, "Windows of the text, evenly spread over it")
      ->check(within(std::size_t{1}, kMostTokens))
      ->type_name("N");
  add_examples(*app,
               {"thinkey eval kl -m model.gguf -f book.txt --cache snapkv:10% --cache snapkv:10%+think:0.4 "
                "--prompt 3500 --continuation 500 --html kl.html"});
  return {app, [arguments] { return execute_kl(*arguments); }};
}

}  // namespace thinkey::cli
