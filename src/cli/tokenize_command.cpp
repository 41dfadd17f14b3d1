// thinkey tokenize: text to token ids, nothing added and nothing taken away.
#include <memory>
#include <string>
#include <vector>

#include "base/fail.h"
#include "cli/commands.h"
#include "cli/input.h"
#include "cli/options.h"
#include "cli/output.h"

namespace thinkey::cli {

namespace {

struct Arguments {
  ModelArguments model;
  std::string file;
  std::string text;
  bool bos = false;
  bool special = false;
};

int execute(const Arguments& arguments, bool has_file) {
  const std::string text = has_file ? read_text(arguments.file) : arguments.text;
  if (!has_file) require_utf8(text, "the text of -p");
  const auto model = arguments.model.load();
  std::vector<std::int32_t> ids =
      model->tokenize(text, {.add_special = false, .parse_special = arguments.special});
  if (arguments.bos) {
    if (model->bos() < 0) {
      fail_data("{}: the tokenizer has no BOS token; leave out --bos", arguments.model.model);
    }
    ids.insert(ids.begin(), model->bos());
  }
  std::string line;
  for (const std::int32_t id : ids) {
    if (!line.empty()) line += ' ';
    line += std::to_string(id);
  }
  write_output(line + "\n");
  return 0;
}

}  // namespace

Command add_tokenize_command(CLI::App& program) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* app = program.add_subcommand("tokenize", "Print the token ids of a text, on one line");
  arguments->model.add_model(*app);
  CLI::Option* file = app->add_option("-f,--file", arguments->file,
                                      "The text, as it is but for a byte-order mark; -: standard input")
                          ->type_name("FILE");
  CLI::Option* text = app->add_option("-p,--prompt", arguments->text, "The text itself")->type_name("TEXT");
  file->excludes(text);
  app->add_flag("--bos", arguments->bos, "Put the BOS token in front");
  app->add_flag("--special", arguments->special, "Recognise control tokens such as <|eot_id|> in the text");
  add_examples(*app, {"thinkey tokenize -m model.gguf -f chapter.txt > chapter.ids",
                      "thinkey tokenize -m model.gguf -p \"Hello world\" --bos"});
  return {app, [arguments, file, text] {
            if (file->empty() && text->empty()) fail_usage("tokenize: give the text with -f FILE or -p TEXT");
            return execute(*arguments, !file->empty());
          }};
}

}  // namespace thinkey::cli
