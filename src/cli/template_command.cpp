// thinkey template: what a conversation becomes under a chat template.
#include <memory>
#include <optional>
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
  ChatArguments chat;
  std::string prompt;
  std::string messages;
  std::string tools;
  bool no_generation_prompt = false;
  bool tokens = false;
  std::optional<std::int64_t> now;
};

std::string read_text(const std::string& path) {
  std::string text = read_file(path);
  require_utf8(text, path == "-" ? "standard input" : path);
  return text;
}

std::string render(const Arguments& arguments, const Model* model) {
  ChatOptions options = arguments.chat.resolve();
  options.add_generation_prompt = !arguments.no_generation_prompt;
  options.now = arguments.now;
  if (!arguments.tools.empty()) options.tools = read_text(arguments.tools);
  if (!arguments.messages.empty()) {
    const std::string conversation = read_text(arguments.messages);
    return model != nullptr ? model->render_chat_json(conversation, options)
                            : render_chat_template(conversation, options);
  }
  require_utf8(arguments.prompt, "the message of -p");
  require_utf8(arguments.chat.system, "--system");
  std::vector<ChatMessage> messages;
  if (arguments.chat.has_system()) messages.push_back({"system", arguments.chat.system});
  messages.push_back({"user", arguments.prompt});
  return model != nullptr ? model->render_chat(messages, options) : render_chat_template(messages, options);
}

int execute(const Arguments& arguments, bool has_prompt) {
  if (has_prompt == !arguments.messages.empty()) {
    fail_usage("template: give the conversation with --messages FILE, or one message with -p TEXT");
  }
  if (arguments.chat.has_system() && !has_prompt) {
    fail_usage("--system goes with -p; in --messages it is a message of its own");
  }
  if (arguments.tokens && arguments.model.model.empty()) fail_usage("--tokens needs a model: add -m PATH");
  const auto model = arguments.model.model.empty() ? nullptr : arguments.model.load();
  const std::string text = render(arguments, model.get());
  if (!arguments.tokens) {
    write_output(text);
    return 0;
  }
  std::string line;
  for (const std::int32_t id : model->tokenize_chat(text)) {
    if (!line.empty()) line += ' ';
    line += std::to_string(id);
  }
  write_output(line + "\n");
  return 0;
}

}  // namespace

Command add_template_command(CLI::App& program) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* app =
      program.add_subcommand("template", "Print what a conversation becomes under a chat template");
  app->add_option("-m,--model", arguments->model.model,
                  "A .gguf file or a Hugging Face directory, for its template and its tokens")
      ->type_name("PATH");
  CLI::Option* prompt =
      app->add_option("-p,--prompt", arguments->prompt, "One message of the user")->type_name("TEXT");
  app->add_option("--messages", arguments->messages,
                  "File with the conversation: a JSON list of messages, or an object with messages, tools, "
                  "documents, add_generation_prompt and chat_template_kwargs; -: standard input")
      ->type_name("FILE");
  app->add_option("--tools", arguments->tools, "File with a JSON list of tools")->type_name("FILE");
  arguments->chat.add(*app);
  app->add_flag("--no-generation-prompt", arguments->no_generation_prompt,
                "End with the last message, not with the header of the answer");
  app->add_flag("--tokens", arguments->tokens, "Print the token ids instead of the text");
  app->add_option("--now", arguments->now,
                  "What templates are told as the time, in seconds since 1970 instead of the clock's")
      ->type_name("SECONDS");
  add_examples(*app,
               {"thinkey template -m model.gguf -p \"Hello\"",
                "thinkey template -m model.gguf --messages conversation.json --tokens",
                "thinkey template --chat-template-file chat_template.jinja --messages conversation.json"});
  return {app, [arguments, prompt] { return execute(*arguments, !prompt->empty()); }};
}

}  // namespace thinkey::cli
