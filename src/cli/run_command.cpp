// thinkey run: one prompt, one answer.
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <vector>

#include "base/fail.h"
#include "base/system_memory.h"
#include "cli/commands.h"
#include "cli/input.h"
#include "cli/interrupt.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/report.h"
#include "thinkey/chat_history.h"
#include "thinkey/generate.h"

namespace thinkey::cli {

namespace {

struct Arguments {
  ModelArguments model;
  CacheArgument cache;
  SamplerArguments sampler;
  GenerationArguments generation;
  ChatArguments chat;
  std::string prompt;
  std::string file;
  bool as_chat = false;
  bool no_bos = false;
  bool special = false;
  bool json = false;
  std::string save_cache;
  std::string load_cache;
};

// Text that people keep in files ends with a newline they do not mean.
std::string read_prompt(const std::string& path, const TextLimit& limit) {
  std::string text = read_text(path, limit);
  if (text.ends_with('\n')) text.pop_back();
  if (text.ends_with('\r')) text.pop_back();
  return text;
}

// The file, the text of -p, or both with a newline between; else what is piped in.
std::string gather_prompt(const Arguments& arguments, bool has_prompt, bool has_file,
                          const TextLimit& limit) {
  std::string text;
  if (has_file) {
    text = read_prompt(arguments.file, limit);
  } else if (!has_prompt) {
    if (!arguments.load_cache.empty()) return {};
    text = read_prompt("-", limit);
  }
  if (has_prompt) {
    if (has_file) text += '\n';
    text += arguments.prompt;
  }
  if (text.empty() && arguments.load_cache.empty()) fail_usage("the prompt is empty");
  return text;
}

// What is wrong with the command line, before the model is loaded.
void check_early(const Arguments& arguments, bool has_prompt, bool has_file) {
  if (!arguments.save_cache.empty()) require_writable(arguments.save_cache, "--save-cache");
  if (has_file && arguments.file != "-") {
    if (std::error_code error; !std::filesystem::exists(arguments.file, error)) {
      fail_data("{}: cannot open: {}", arguments.file,
                (error ? error : std::make_error_code(std::errc::no_such_file_or_directory)).message());
    }
  }
  if (has_prompt) require_utf8(arguments.prompt, "the prompt of -p");
  if (!has_file && !has_prompt && arguments.load_cache.empty() && ::isatty(STDIN_FILENO) == 1) {
    fail_usage("run: give the prompt with -p TEXT, -f FILE or on standard input");
  }
  if (!has_file && has_prompt && arguments.prompt.empty() && arguments.load_cache.empty()) {
    fail_usage("the prompt is empty");
  }
}

// A conversation of one question.
std::vector<std::int32_t> encode_chat(const Arguments& arguments, const Model& model,
                                      const std::string& prompt) {
  const ChatOptions options = arguments.chat.resolve();
  if (!arguments.load_cache.empty()) {
    return model.tokenize(render_next_turn(model, prompt, options),
                          {.add_special = false, .parse_special = true});
  }
  std::vector<ChatMessage> messages;
  if (arguments.chat.has_system()) messages.push_back({"system", arguments.chat.system});
  messages.push_back({"user", prompt});
  const std::string text = model.render_chat(messages, options);
  return arguments.no_bos ? model.tokenize(text, {.add_special = false, .parse_special = true})
                          : model.tokenize_chat(text);
}

std::vector<std::int32_t> encode(const Arguments& arguments, const Model& model, const std::string& prompt) {
  // What follows a restored cache is no beginning: no BOS, and in a chat a further turn.
  const bool continues = !arguments.load_cache.empty();
  if (continues && prompt.empty()) return {};
  if (arguments.as_chat) return encode_chat(arguments, model, prompt);
  return model.tokenize(prompt,
                        {.add_special = !arguments.no_bos && !continues, .parse_special = arguments.special});
}

// Options of a chat that would have no effect are refused.
void check_chat(const Arguments& arguments) {
  if (!arguments.as_chat) arguments.chat.require_unused("is for --chat; add --chat or leave it out");
  if (arguments.chat.has_system() && !arguments.load_cache.empty()) {
    fail_usage(
        "--system comes too late with --load-cache: the saved cache holds the conversation's beginning");
  }
  if (arguments.as_chat) require_utf8(arguments.chat.system, "--system");
}

void report(const Generation& generation, bool lookup, const Session& session) {
  const ModelInfo& model = session.model().info();
  print_message(
      "\nload     {:.2f} s, {:.2f} of it to repack {} of weights{}\nprompt   {}\nanswer   {}, ended by: "
      "{}\n{}"
      "memory   {} resident, {} at most\n{}",
      model.load_seconds, model.repack_seconds, format_bytes(model.repacked_bytes),
      model.prefill_weight_bytes == 0
          ? ""
          : fmt::format(", {} kept for prompts", format_bytes(model.prefill_weight_bytes)),
      format_rate(generation.prompt_tokens, generation.prefill_seconds),
      format_rate(generation.tokens.size(), generation.decode_seconds), stop_reason_name(generation.reason),
      lookup ? format_lookup(generation) : "", format_bytes(resident_memory()),
      format_bytes(peak_resident_memory()), format_cache_report(session.cache_report()));
}

OrderedJson to_json(const Generation& generation, const Session& session, const SamplerOptions& sampler,
                    bool lookup) {
  OrderedJson json;
  json["text"] = generation.text;
  json["tokens"] = generation.tokens;
  json["stop"] = stop_reason_name(generation.reason);
  json["seed"] = sampler.seed;
  json["prompt"] = rate_json(generation.prompt_tokens, generation.prefill_seconds);
  json["decode"] = rate_json(generation.tokens.size(), generation.decode_seconds);
  if (lookup) json["lookup"] = lookup_json(generation);
  json["cache"] = cli::to_json(session.cache_report());
  json["load"] = {{"seconds", session.model().info().load_seconds},
                  {"repack_seconds", session.model().info().repack_seconds},
                  {"repacked_bytes", session.model().info().repacked_bytes},
                  {"prefill_weight_bytes", session.model().info().prefill_weight_bytes}};
  json["resident_bytes"] = resident_memory();
  json["peak_resident_bytes"] = peak_resident_memory();
  return json;
}

int execute(const Arguments& arguments, bool has_prompt, bool has_file) {
  check_chat(arguments);
  const CacheSpec spec = arguments.cache.parse();
  GenerateOptions options;
  options.sampler = arguments.sampler.resolve();
  options.max_tokens = limit_of(arguments.generation.predict);
  options.lookup = arguments.generation.lookup;
  check_early(arguments, has_prompt, has_file);
  const auto model = arguments.model.load();
  warn_of_context(*model, arguments.generation.context);
  const std::string prompt =
      gather_prompt(arguments, has_prompt, has_file, prompt_limit(*model, arguments.generation.context));
  const std::vector<std::int32_t> ids = encode(arguments, *model, prompt);
  Session session = arguments.load_cache.empty()
                        ? Session(model, {.cache = spec, .context = arguments.generation.context})
                        : Session::load(model, arguments.load_cache, arguments.generation.context);

  catch_interrupts();
  const bool quiet = arguments.generation.quiet || arguments.json;
  PrefillProgress progress(ids.size(), !arguments.generation.quiet && standard_error_is_terminal());
  options.progress = progress.callback();
  options.sink = [&arguments](std::string_view text) {
    if (!arguments.json) {
      write_output(text);
      flush_output();
    }
    return !interrupted();
  };
  const Generation generation = generate(session, ids, options);
  if (arguments.json) {
    write_output(dump(to_json(generation, session, options.sampler, options.lookup > 0)));
  } else {
    write_output("\n");
  }
  flush_output();
  if (!arguments.save_cache.empty()) session.save(arguments.save_cache);
  if (!quiet) report(generation, options.lookup > 0, session);
  return interrupted() ? interrupted_exit() : 0;
}

}  // namespace

Command add_run_command(CLI::App& program) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* app = program.add_subcommand("run", "Answer one prompt");
  arguments->model.add_model(*app);
  CLI::Option* prompt =
      app->add_option("-p,--prompt", arguments->prompt, "The prompt; after -f FILE, its last lines")
          ->type_name("TEXT");
  CLI::Option* file =
      app->add_option("-f,--file", arguments->file,
                      "File with the prompt, UTF-8, its last newline dropped; -: standard input")
          ->type_name("FILE");
  arguments->cache.add(*app);
  arguments->generation.add(*app);
  arguments->model.add_compute(*app);
  app->add_flag("--chat", arguments->as_chat,
                "Wrap the prompt as a user's message in the model's chat template");
  arguments->chat.add(*app);
  app->add_flag("--special", arguments->special, "Recognise control tokens such as <|eot_id|> in the prompt");
  app->add_flag("--no-bos", arguments->no_bos, "Do not put the BOS token in front of the prompt");
  app->add_option(
         "--save-cache", arguments->save_cache,
         "Save the compressed cache to FILE at the end (prompt and answer; with -n 0 the prompt alone)")
      ->type_name("FILE");
  app->add_option(
         "--load-cache", arguments->load_cache,
         "Go on from a saved cache: the prompt follows what it holds, under the spec it was saved with")
      ->type_name("FILE")
      ->excludes(app->get_option("--cache"));
  app->add_flag("--json", arguments->json, "One JSON object on standard output at the end, instead of text");
  arguments->sampler.add(*app);
  add_examples(
      *app, {"thinkey run -m model.gguf -p \"Once upon a time\" -n 64",
             "thinkey run -m model.gguf -f report.txt -p \"What was decided?\" --cache snapkv:2048+think:0.4",
             "thinkey run -m model.gguf -f book.txt -n 0 --cache think:0.4 --save-cache book.kv",
             "thinkey run -m model.gguf --load-cache book.kv -p \"Who did it?\"",
             "cat notes.txt | thinkey run -m model.gguf --temp 0 --json"});
  return {app, [arguments, prompt, file] { return execute(*arguments, !prompt->empty(), !file->empty()); }};
}

}  // namespace thinkey::cli
