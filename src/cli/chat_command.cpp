// thinkey chat: a conversation whose earlier turns stay compressed in the cache.
#include <unistd.h>

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/fail.h"
#include "cli/commands.h"
#include "cli/input.h"
#include "cli/interrupt.h"
#include "cli/line_reader.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/report.h"
#include "formats/printable.h"
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
};

constexpr const char* kHelp =
    "/file PATH  append a file's text to the next message\n"
    "/cache      show what the cache holds\n"
    "/reset      forget the conversation\n"
    "/quit       leave (also /exit, Ctrl-D)\n"
    "Ctrl-C stops an answer; a line ending in \\ goes on in the next one.\n";

class Chat {
 public:
  Chat(std::shared_ptr<const Model> model, const Arguments& arguments)
      : model_(std::move(model)),
        session_options_({.cache = arguments.cache.parse(), .context = arguments.generation.context}),
        template_(arguments.chat.resolve()),
        session_(model_, session_options_) {
    options_.sampler = arguments.sampler.resolve();
    options_.max_tokens = limit_of(arguments.generation.predict);
    options_.lookup = arguments.generation.lookup;
    warn_of_context(*model_, session_options_.context);
    terminal_ = ::isatty(STDIN_FILENO) == 1;
    quiet_ = arguments.generation.quiet;
    if (arguments.chat.has_system()) {
      require_utf8(arguments.chat.system, "--system");
      system_ = arguments.chat.system;
    }
    forget();
    // A model without a template is refused now, not after the first message.
    std::vector<ChatMessage> probe = messages_;
    probe.push_back({"user", "?"});
    static_cast<void>(model_->render_chat(probe, template_));
  }

  int run() {
    LineReader input(STDIN_FILENO);
    catch_interrupts();
    if (terminal_ && !quiet_) print_message("{}: /help lists the commands.\n", model_->info().name);
    while (true) {
      if (terminal_) {
        write_output("> ");
        flush_output();
      }
      const LineReader::Result got = input.read();
      if (got.status == LineReader::Status::Interrupted) {
        if (asked_to_end()) return interrupted_exit();
        if (std::exchange(warned_, true)) return 0;
        clear_interrupt();
        write_output("\n");
        write_message("/quit, Ctrl-D or Ctrl-C once more leaves.\n");
        continue;
      }
      warned_ = false;
      if (got.status == LineReader::Status::End && got.line.empty()) break;
      if (!handle(got.line)) return 0;
      if (got.status == LineReader::Status::End) break;
    }
    if (terminal_) write_output("\n");
    return 0;
  }

 private:
  // One line of input; false: leave. What is wrong with a message does not end the conversation.
  bool handle(const std::string& line) {
    try {
      if (line.starts_with('/')) return command(line);
      if (line.ends_with('\\')) {
        pending_ += line.substr(0, line.size() - 1) + '\n';
        return true;
      }
      std::string message = std::exchange(pending_, {}) + line;
      if (message.find_first_not_of(" \t\r\n") == std::string::npos && attachment_.empty()) return true;
      require_utf8(message, "the message");
      if (!attachment_.empty()) message = std::exchange(attachment_, {}) + message;
      answer(message);
    } catch (const Error& error) {
      flush_output();  // rethrows when it was the output that failed
      print_message("thinkey: {}\n", one_line(error.what()));
    }
    return true;
  }

  bool command(const std::string& line) {
    const std::size_t space = line.find_first_of(" \t");
    const std::string name = line.substr(0, space);
    const std::size_t at = space == std::string::npos ? space : line.find_first_not_of(" \t", space);
    const std::string argument = at == std::string::npos ? std::string() : line.substr(at);
    if (name == "/quit" || name == "/exit") return false;
    if (name == "/help") {
      write_output(kHelp);
    } else if (name == "/cache") {
      write_output(format_cache_report(session_.cache_report()));
    } else if (name == "/reset") {
      forget();
      restart();
    } else if (name == "/file") {
      if (argument.empty()) fail_usage("/file: give a path");
      std::string text = read_text(argument, prompt_limit(*model_, session_options_.context));
      if (!text.ends_with('\n')) text += '\n';
      attachment_ += text;
      if (!quiet_) print_message("{} of {} go with the next message.\n", format_bytes(text.size()), argument);
    } else {
      fail_usage("unknown command {}; /help lists them", printable(name, 40));
    }
    return true;
  }

  void answer(const std::string& message) {
    messages_.push_back({"user", message});
    std::size_t before = session_.tokens_seen();
    bool touched = false;  // work on the session has begun
    try {
      const std::string text = model_->render_chat(messages_, template_);
      ChatHistory::Step step = history_.next(*model_, text);
      if (step.restart) {
        print_message("the template rewrites earlier turns: the conversation is read anew, {} tokens\n",
                      step.tokens.size());
        restart();
        before = 0;
      }
      const std::vector<std::int32_t>& ids = step.tokens;
      clear_interrupt();
      PrefillProgress progress(ids.size(), !quiet_ && standard_error_is_terminal());
      options_.progress = [&touched, show = progress.callback()](double done, double total) {
        touched = true;
        show(done, total);
      };
      options_.sink = [](std::string_view piece) {
        write_output(piece);
        flush_output();
        return !interrupted();
      };
      options_.seen = history_.tokens();
      const Generation generation = generate(session_, ids, options_);
      ++options_.sampler.seed;  // another answer for the same question
      messages_.push_back({"assistant", generation.text});
      history_.add(*model_, text, ids, generation);
      write_output("\n");
      flush_output();
      describe(generation);
    } catch (const Interrupted&) {
      clear_interrupt();
      take_back(touched || session_.tokens_seen() != before);
      write_message("interrupted; the message was not answered.\n");
    } catch (const Error&) {
      take_back(touched || session_.tokens_seen() != before);
      throw;
    }
  }

  void describe(const Generation& generation) {
    if (generation.reason == StopReason::ContextFull) {
      write_message("the context is full; /reset starts again, --ctx-size gives more room\n");
    }
    if (quiet_ || !terminal_) return;
    const CacheReport report = session_.cache_report();
    print_message("{}[prompt {}; answer {}; cache {}, {:.1f} % of full]\n",
                  options_.lookup > 0 ? format_lookup(generation) : "",
                  format_rate(generation.prompt_tokens, generation.prefill_seconds),
                  format_rate(generation.tokens.size(), generation.decode_seconds),
                  format_bytes(report.bytes), 100.0 * report.share_of_full());
  }

  // The unanswered message leaves the conversation. If the session was touched, some layers may hold
  // tokens that others lack: it starts anew, and the next message brings the whole conversation with it.
  void take_back(bool touched) {
    messages_.pop_back();
    if (touched) restart();
  }

  void forget() {
    messages_.clear();
    attachment_.clear();
    pending_.clear();
    if (system_) messages_.push_back({"system", *system_});
  }

  void restart() {
    session_ = Session(model_, session_options_);
    history_.clear();
  }

  std::shared_ptr<const Model> model_;
  SessionOptions session_options_;
  ChatOptions template_;
  std::optional<std::string> system_;
  Session session_;
  GenerateOptions options_;
  bool terminal_ = false;
  bool quiet_ = false;
  bool warned_ = false;  // about leaving with Ctrl-C

  std::vector<ChatMessage> messages_;
  ChatHistory history_;     // what the session holds of it
  std::string attachment_;  // from /file
  std::string pending_;     // lines that ended in a backslash
};

}  // namespace

Command add_chat_command(CLI::App& program) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* app = program.add_subcommand("chat", "Hold a conversation");
  arguments->model.add_model(*app);
  arguments->cache.add(*app);
  arguments->generation.add(*app);
  arguments->model.prefill_weights = "auto";  // its turns are short prompts
  arguments->model.add_compute(*app);
  arguments->chat.add(*app);
  arguments->sampler.add(*app);
  add_examples(
      *app,
      {"thinkey chat -m model.gguf --cache snapkv:2048+think:0.4",
       "printf '/file report.txt\\nSummarise it.\\nAnd in one line?\\n' | thinkey chat -m model.gguf -q"});
  return {app, [arguments] {
            static_cast<void>(arguments->cache.parse());  // before loading
            static_cast<void>(arguments->sampler.resolve());
            return Chat(arguments->model.load(), *arguments).run();
          }};
}

}  // namespace thinkey::cli
