// Options that several commands share, each group declared once.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "formats/text_file.h"
#include "thinkey/cache_spec.h"
#include "thinkey/chat.h"
#include "thinkey/model.h"
#include "thinkey/sampler.h"

namespace thinkey::cli {

// -m, -t, --prefill-precision, --decode-precision, --no-repack, --check-finite
struct ModelArguments {
  std::string model;
  int threads = 0;
  std::string precision = "auto";
  std::string decode_precision = "auto";
  bool repack = false;  // of commands that do not compute
  std::string prefill_weights = "fresh";
  bool check_finite = false;

  void add_model(CLI::App& app);
  void add_compute(CLI::App& app);  // threads and precision
  [[nodiscard]] std::shared_ptr<const Model> load() const;
};

// --cache SPEC
struct CacheArgument {
  std::string text = "full";

  void add(CLI::App& app);
  [[nodiscard]] CacheSpec parse() const { return CacheSpec::parse(text); }
};

// --temp, --top-k, --top-p, --min-p, --repeat-penalty, --repeat-last-n, -s
struct SamplerArguments {
  SamplerOptions options;
  std::string seed = "-1";  // -1: a new one each time

  void add(CLI::App& app);
  // With the seed resolved; throws Error(Usage) when an option is out of range.
  [[nodiscard]] SamplerOptions resolve() const;
};

// -n, -c, --lookup, -q
struct GenerationArguments {
  std::int64_t predict = -1;
  std::size_t context = 0;
  std::size_t lookup = 0;
  bool quiet = false;

  void add(CLI::App& app);
};

// --system, --chat-template, --chat-template-file, --chat-template-kwargs
struct ChatArguments {
  std::string system;
  std::string name;
  std::string file;
  std::string variables;
  CLI::Option* system_option = nullptr;

  void add(CLI::App& app);
  [[nodiscard]] bool has_system() const { return system_option != nullptr && system_option->count() > 0; }
  // The template's file is read. Throws Error.
  [[nodiscard]] ChatOptions resolve() const;
  // Error(Usage) naming the option when one was given that a command without a chat cannot use.
  void require_unused(std::string_view reason) const;
};

// A range that errors name and the help does not.
template <typename Number>
[[nodiscard]] CLI::Validator within(Number lowest, Number highest) {
  return CLI::Range(lowest, highest).description("");
}

// Of words that are whole numbers below 2^64: CLI11 by itself takes larger ones for the largest.
[[nodiscard]] CLI::Validator whole_number();

// One line on standard error where the context asked for is longer than the model was made for.
void warn_of_context(const Model& model, std::size_t asked);

// Of the text of a prompt: what is larger cannot fit the context.
[[nodiscard]] TextLimit prompt_limit(const Model& model, std::size_t context);

// The option's -1, "no limit", as the library has it.
[[nodiscard]] inline std::optional<std::size_t> limit_of(std::int64_t option) {
  return option < 0 ? std::nullopt : std::optional(static_cast<std::size_t>(option));
}

// Where examples of one command go: at the end of its help.
void add_examples(CLI::App& app, const std::vector<std::string>& lines);

// The heading under which --help lists generation options.
inline constexpr const char* kSamplingGroup = "Sampling";

}  // namespace thinkey::cli
