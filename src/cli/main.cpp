// The program: finds the command, runs it, and turns every failure into one line and an exit code.
#include <csignal>
#include <cstdio>
#include <exception>
#include <new>
#include <string>
#include <vector>

#include "base/emergency.h"
#include "base/fail.h"
#include "base/stop_signal.h"
#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/options.h"
#include "cli/output.h"

namespace thinkey::cli {

namespace {

std::vector<Command> add_commands(CLI::App& program) {
  std::vector<Command> commands;
  commands.push_back(add_run_command(program));
  commands.push_back(add_chat_command(program));
  commands.push_back(add_serve_command(program));
  commands.push_back(add_inspect_command(program));
  commands.push_back(add_template_command(program));
  commands.push_back(add_tokenize_command(program));
  commands.push_back(add_logits_command(program));
  commands.push_back(add_compress_command(program));
  commands.push_back(add_bench_command(program));
  commands.push_back(add_demo_command(program));
  commands.push_back(add_eval_command(program));
  commands.push_back(add_sweep_command(program));
  commands.push_back(add_analyze_command(program));
  return commands;
}

// The first word must be a command or an option; CLI11 would only say that it was not expected.
void check_command(const std::vector<Command>& commands, int argc, const char* const* argv) {
  const std::string word = argc > 1 ? argv[1] : "";
  if (word.starts_with("-")) {
    for (const char* known : {"-h", "--help", "--version"}) {
      if (word == known) return;
    }
    fail_usage("unknown option \"{}\" before a command; see thinkey --help", word);
  }
  std::string names;
  for (const Command& command : commands) {
    if (command.app->get_name() == word) return;
    names += (names.empty() ? "" : ", ") + command.app->get_name();
  }
  if (argc < 2) fail_usage("no command given; choose one of {}, or see thinkey --help", names);
  fail_usage("unknown command \"{}\"; choose one of {}", word, names);
}

int run_program(int argc, const char* const* argv) {
  CLI::App program("Llama-family language models over long prompts with a physically thinner KV cache.",
                   "thinkey");
  program.option_defaults()->always_capture_default();
  program.get_formatter()->column_width(32);
  program.set_version_flag("--version", "thinkey " THINKEY_VERSION, "Print the version and exit");
  program.require_subcommand(1);
  const std::vector<Command> commands = add_commands(program);
  add_examples(
      program,
      {"thinkey run -m model.gguf -f report.txt -p \"What was decided?\" --cache snapkv:2048+think:0.4",
       "thinkey chat -m model.gguf --cache think:0.5", "thinkey inspect model.gguf -c 32768",
       "thinkey COMMAND --help"});
  check_command(commands, argc, argv);
  try {
    program.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    write_output(program.help());  // of the command, where one was named
    return 0;
  } catch (const CLI::CallForVersion& version) {
    print_output("{}\n", version.what());
    return 0;
  } catch (const CLI::ParseError& error) {
    fail_usage("{}", error.what());
  }
  for (const Command& command : commands) {
    if (command.app->parsed()) return command.execute();
  }
  return 0;
}

int guarded(int argc, const char* const* argv) {
  const auto complain = [](std::string_view message) { print_message("thinkey: {}\n", one_line(message)); };
  try {
    const int status = run_program(argc, argv);
    flush_output();
    return status;
  } catch (const Error& error) {
    complain(error.what());
    return static_cast<int>(error.kind());
  } catch (const Interrupted&) {
    complain("interrupted");
    return interrupted_exit();
  } catch (const std::bad_alloc&) {
    complain("out of memory; a smaller --ctx-size or a tighter --cache needs less");
  } catch (const std::exception& error) {
    complain(std::string("internal error: ") + error.what());
  }
  return static_cast<int>(ErrorKind::Data);
}

}  // namespace

}  // namespace thinkey::cli

int main(int argc, char** argv) {
  thinkey::start_stop_signals();
  thinkey::report_lost_mappings();
  // A closed pipe and a file-size limit are write errors like any other, reported in one line.
  std::signal(SIGPIPE, SIG_IGN);  // NOLINT(cert-err33-c)
  std::signal(SIGXFSZ, SIG_IGN);  // NOLINT(cert-err33-c)
  return thinkey::cli::guarded(argc, argv);
}
