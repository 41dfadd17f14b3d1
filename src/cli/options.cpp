#include "cli/options.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <limits>
#include <random>

#include "base/fail.h"
#include "cli/output.h"
#include "engine/prompt_limit.h"
#include "formats/printable.h"
#include "formats/text_file.h"
#include "thinkey/generate.h"

namespace thinkey::cli {

namespace {

constexpr int kMostThreads = 1024;
constexpr std::int64_t kMostTokens = std::numeric_limits<std::int32_t>::max();

}  // namespace

void ModelArguments::add_model(CLI::App& app) {
  app.add_option("-m,--model", model, "A .gguf file or a Hugging Face directory")
      ->required()
      ->type_name("PATH");
}

void ModelArguments::add_compute(CLI::App& app) {
  app.add_option("-t,--threads", threads, "Threads; 0: all cores")
      ->check(within(0, kMostThreads))
      ->type_name("N");
  app.add_option("--prefill-precision", precision,
                 "Matrix products of the prompt: auto (8 bits for quantized weights where the CPU has them, "
                 "bf16 for the rest), bf16 or f32")
      ->check(CLI::IsMember({"auto", "bf16", "f32"}))
      ->type_name("NAME");
  app.add_option(
         "--decode-precision", decode_precision,
         "Activations of a new token's matrix products: auto (8 bits where the weights are quantized and the "
         "CPU has it) or f32; by default " +
             decode_precision)
      ->check(CLI::IsMember({"auto", "f32"}))
      ->type_name("NAME");
  repack = true;
  app.add_flag("--repack,!--no-repack", repack,
               "Copy quantized weights into a faster order for new tokens (takes their memory twice)");
  app.add_option(
         "--prefill-weights", prefill_weights,
         "Weights in the 8 bits in which they multiply prompts: fresh (for every prompt), kept (faster "
         "short prompts, at a byte for each weight) or auto (kept if that takes an eighth of the memory "
         "at most); by default " +
             prefill_weights)
      ->check(CLI::IsMember({"fresh", "kept", "auto"}))
      ->type_name("NAME");
  app.add_flag("--check-finite", check_finite,
               "Look for NaN and infinity after every layer, not only in the logits, and name the layer");
}

std::shared_ptr<const Model> ModelArguments::load() const {
  return Model::load(
      model, {.threads = threads,
              .precision = precision == "f32"    ? PrefillPrecision::F32
                           : precision == "bf16" ? PrefillPrecision::BF16
                                                 : PrefillPrecision::Auto,
              .decode_precision = decode_precision == "f32" ? DecodePrecision::F32 : DecodePrecision::Auto,
              .repack = repack,
              .prefill_weights = prefill_weights == "kept"   ? PrefillWeights::Kept
                                 : prefill_weights == "auto" ? PrefillWeights::Auto
                                                             : PrefillWeights::Fresh,
              .check_finite = check_finite});
}

void CacheArgument::add(CLI::App& app) {
  app.add_option("--cache", text,
                 "What the KV cache keeps: full, snapkv:2048, think:0.4, snapkv:25%+think:0.4, ...")
      ->type_name("SPEC");
}

void SamplerArguments::add(CLI::App& app) {
  app.add_option("--temp", options.temperature, "Temperature; 0: greedy")
      ->type_name("X")
      ->group(kSamplingGroup);
  app.add_option("--top-k", options.top_k, "Among the k likeliest tokens; 0: off")
      ->type_name("N")
      ->group(kSamplingGroup);
  app.add_option("--top-p", options.top_p, "Among the likeliest tokens of joint probability p; 1: off")
      ->type_name("X")
      ->group(kSamplingGroup);
  app.add_option("--min-p", options.min_p, "At least this share of the likeliest token's probability; 0: off")
      ->type_name("X")
      ->group(kSamplingGroup);
  app.add_option("--repeat-penalty", options.repeat_penalty, "Penalty for repeated tokens; 1: off")
      ->type_name("X")
      ->group(kSamplingGroup);
  app.add_option("--repeat-last-n", options.repeat_last_n, "Latest tokens the penalty looks at")
      ->type_name("N")
      ->group(kSamplingGroup);
  app.add_option("-s,--seed", seed, "Seed of the random numbers; -1: a new one each time")
      ->check([](const std::string& word) { return word == "-1" ? std::string() : whole_number()(word); })
      ->type_name("N")
      ->group(kSamplingGroup);
}

SamplerOptions SamplerArguments::resolve() const {
  SamplerOptions resolved = options;
  if (seed == "-1") {
    resolved.seed = std::random_device{}();
  } else if (const auto [end, error] = std::from_chars(seed.data(), seed.data() + seed.size(), resolved.seed);
             error != std::errc() || end != seed.data() + seed.size()) {
    fail_usage("--seed: \"{}\" is not -1 or a whole number below 2^64", seed);
  }
  static_cast<void>(Sampler(resolved));  // its checks, before a model is loaded and a prompt computed
  return resolved;
}

CLI::Validator whole_number() {
  return {[](std::string& word) {
            std::uint64_t value = 0;
            const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
            return error == std::errc() && end == word.data() + word.size()
                       ? std::string()
                       : "\"" + printable(word, 40) + "\" is not a whole number below 2^64";
          },
          ""};
}

void warn_of_context(const Model& model, std::size_t asked) {
  if (asked <= model.info().context_length) return;
  print_message(
      "thinkey: warning: a context of {} is more than the model's {}; answers beyond that may be poor\n",
      asked, model.info().context_length);
}

TextLimit prompt_limit(const Model& model, std::size_t context) {
  const std::size_t tokens = context > 0 ? context : model.info().context_length;
  return {.bytes = std::min(TextLimit{}.bytes, most_prompt_bytes(model, tokens)),
          .why = fmt::format(", which cannot fit the context of {} tokens; shorten it", tokens)};
}

void GenerationArguments::add(CLI::App& app) {
  app.add_option("-n,--n-predict", predict,
                 "Most tokens of an answer; -1: until it ends or the context is full")
      ->check(within(std::int64_t{-1}, kMostTokens))
      ->type_name("N");
  app.add_option("-c,--ctx-size", context, "Most tokens of prompt and answer; 0: the model's context length")
      ->check(within(std::size_t{0}, std::size_t{kMostTokens}))
      ->type_name("N");
  app.add_option(
         "--lookup", lookup,
         "Draft up to N tokens at a time from what was said before and verify them in one step: the same "
         "answer, sooner where it quotes; 0: off")
      ->check(within(std::size_t{0}, kMostLookup))
      ->type_name("N");
  app.add_flag("-q,--quiet", quiet, "No progress bar, rates or cache report on standard error");
}

void ChatArguments::add(CLI::App& app) {
  system_option =
      app.add_option("--system", system, "System message at the start of the chat")->type_name("TEXT");
  CLI::Option* by_name =
      app.add_option(
             "--chat-template", name,
             fmt::format("Chat template instead of the model's own: one of its named templates, or {}",
                         fmt::join(chat_template_names(), ", ")))
          ->type_name("NAME");
  app.add_option("--chat-template-file", file,
                 "File with the chat template (Jinja) instead of the model's own")
      ->type_name("FILE")
      ->excludes(by_name);
  app.add_option("--chat-template-kwargs", variables,
                 "JSON object of further variables for the template, such as {\"enable_thinking\": false}")
      ->type_name("JSON");
}

ChatOptions ChatArguments::resolve() const {
  ChatOptions options{.variables = variables, .template_name = name};
  if (!file.empty()) {
    options.template_source = read_file(file);
    if (options.template_source.empty()) fail_data("{}: the chat template is empty", file);
  }
  return options;
}

void ChatArguments::require_unused(std::string_view reason) const {
  const auto refuse = [&](std::string_view option) { fail_usage("{} {}", option, reason); };
  if (has_system()) refuse("--system");
  if (!name.empty()) refuse("--chat-template");
  if (!file.empty()) refuse("--chat-template-file");
  if (!variables.empty()) refuse("--chat-template-kwargs");
}

void add_examples(CLI::App& app, const std::vector<std::string>& lines) {
  std::string text = "Examples:";
  for (const std::string& line : lines) text += "\n  " + line;
  app.footer(text);
}

}  // namespace thinkey::cli
