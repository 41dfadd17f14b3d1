// The program's commands. Each adds its subcommand and options to the program and says what to execute.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>

namespace thinkey::cli {

struct Command {
  CLI::App* app = nullptr;       // the subcommand; owned by the program
  std::function<int()> execute;  // the exit code; throws Error
};

[[nodiscard]] Command add_run_command(CLI::App& program);
[[nodiscard]] Command add_chat_command(CLI::App& program);
[[nodiscard]] Command add_inspect_command(CLI::App& program);
[[nodiscard]] Command add_template_command(CLI::App& program);
[[nodiscard]] Command add_tokenize_command(CLI::App& program);
[[nodiscard]] Command add_logits_command(CLI::App& program);
[[nodiscard]] Command add_compress_command(CLI::App& program);
[[nodiscard]] Command add_bench_command(CLI::App& program);
[[nodiscard]] Command add_demo_command(CLI::App& program);
[[nodiscard]] Command add_eval_command(CLI::App& program);
[[nodiscard]] Command add_sweep_command(CLI::App& program);
[[nodiscard]] Command add_analyze_command(CLI::App& program);
[[nodiscard]] Command add_serve_command(CLI::App& program);

// Of `thinkey eval`.
[[nodiscard]] Command add_eval_needle_command(CLI::App& eval);
[[nodiscard]] Command add_eval_ruler_command(CLI::App& eval);
[[nodiscard]] Command add_eval_arithmetic_command(CLI::App& eval);
[[nodiscard]] Command add_eval_perplexity_command(CLI::App& eval);
[[nodiscard]] Command add_eval_kl_command(CLI::App& eval);
[[nodiscard]] Command add_eval_longbench_command(CLI::App& eval);
[[nodiscard]] Command add_eval_score_command(CLI::App& eval);

}  // namespace thinkey::cli
