// thinkey demo: the bundled model finds facts hidden in long documents, under thinner and thinner caches.
#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/fail.h"
#include "cli/commands.h"
#include "cli/input.h"
#include "cli/interrupt.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/report.h"
#include "eval/needle/needle_samples.h"
#include "thinkey/generate.h"

namespace thinkey::cli {

namespace {

using eval::hide_needles;
using eval::NeedleSample;
using eval::read_samples;

struct Arguments {
  ModelArguments model;
  std::string samples = "models/samples/needle-4k.jsonl";
  std::vector<std::string> texts = {"LICENSE", "CONTRIBUTING.md", "docs/architecture.md"};
  std::vector<std::string> specs;
  std::size_t budget = 512;
  std::size_t count = 40;
  std::size_t text_count = 20;
  std::size_t text_tokens = 3600;
  std::string answers = "exact";
  bool json = false;

  // Models that talk say more than the answer alone.
  [[nodiscard]] bool exact() const { return answers == "exact"; }
};

// What a spec did over all samples of one kind.
struct Score {
  std::size_t right = 0, samples = 0;
  std::size_t bytes = 0, full_bytes = 0;  // summed over samples
  double decode_seconds = 0.0;
  std::size_t decoded = 0;
  std::vector<std::string> answers;

  [[nodiscard]] double accuracy() const { return static_cast<double>(right) / static_cast<double>(samples); }
  [[nodiscard]] double share() const { return static_cast<double>(bytes) / static_cast<double>(full_bytes); }
  [[nodiscard]] double milliseconds() const {
    return 1e3 * decode_seconds / static_cast<double>(std::max<std::size_t>(1, decoded));
  }
};

std::vector<std::string> default_specs(std::size_t budget) {
  // The same token budget for all, with the pooling of the paper's runs.
  const std::string snapkv = fmt::format("snapkv:{},kernel=7,pool=max", budget);
  return {"full",
          snapkv,
          snapkv + "+think:0.4",
          snapkv + "+think:0.8",
          snapkv + "+think:0.4,form=paper",
          snapkv + "+think:0.6,form=paper",
          snapkv + "+think:0.8,form=paper",
          snapkv + "+think:keys=0.4,values=0.3",
          snapkv + "+think:0.4+kivi:4",
          snapkv + "+think:0.4+kivi:2",
          "auto:12%",
          "auto:6%"};
}

std::string trimmed(std::string text) {
  const auto is_space = [](char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; };
  while (!text.empty() && is_space(text.back())) text.pop_back();
  const auto first = std::find_if_not(text.begin(), text.end(), is_space);
  return {first, text.end()};
}

bool is_right(const std::string& text, const NeedleSample& sample, bool exact) {
  return exact ? text == sample.answer : text.find(sample.answer) != std::string::npos;
}

// Lets a session that holds the prompt answer it.
void answer(Session& session, const NeedleSample& sample, bool exact, Score& score) {
  GenerateOptions options;
  options.max_tokens = exact ? 16 : 32;
  options.sampler.temperature = 0.0F;
  options.sink = [](std::string_view) { return !interrupted(); };
  const Generation generation = generate(session, {}, options);
  if (interrupted()) throw Interrupted();
  const CacheReport report = session.cache_report();
  score.answers.push_back(trimmed(generation.text));
  score.right += is_right(score.answers.back(), sample, exact) ? 1 : 0;
  ++score.samples;
  score.bytes += report.bytes;
  score.full_bytes += report.full_bytes;
  score.decode_seconds += generation.decode_seconds;
  score.decoded += generation.tokens.size() + (generation.ended ? 1 : 0);
}

// Every spec on every sample. The prompt runs once and every spec compresses it; then the specs take
// turns in answering, so that a slow moment of the machine hits all.
std::vector<Score> run_all(const std::shared_ptr<const Model>& model,
                           const std::vector<NeedleSample>& samples, const std::vector<CacheSpec>& specs,
                           bool exact) {
  std::vector<Score> scores(specs.size());
  const bool visible = standard_error_is_terminal();
  for (std::size_t i = 0; i < samples.size(); ++i) {
    if (visible) print_message("\rsample {} of {} ", i + 1, samples.size());
    const std::vector<ChatMessage> messages = {{"user", samples[i].message()}};
    std::vector<Session> sessions;
    std::vector<Session*> together;
    sessions.reserve(specs.size());
    together.reserve(specs.size());
    for (const CacheSpec& spec : specs) sessions.emplace_back(model, SessionOptions{.cache = spec});
    for (Session& session : sessions) together.push_back(&session);
    Session::prefill_together(together, model->tokenize_chat(model->render_chat(messages)));
    for (std::size_t s = 0; s < specs.size(); ++s) answer(sessions[s], samples[i], exact, scores[s]);
  }
  if (visible) write_message("\r                          \r");
  return scores;
}

std::string table(const std::vector<CacheSpec>& specs, const std::vector<Score>& scores, bool exact) {
  std::vector<std::vector<std::string>> rows = {
      {"cache", exact ? "exact match" : "found", "bytes", "of full", "decode ms/token"}};
  for (std::size_t i = 0; i < specs.size(); ++i) {
    const Score& s = scores[i];
    rows.push_back({specs[i].to_string(),
                    fmt::format("{}/{} = {:.1f} %", s.right, s.samples, 100.0 * s.accuracy()),
                    format_bytes(s.bytes / s.samples), fmt::format("{:.1f} %", 100.0 * s.share()),
                    fmt::format("{:.2f}", s.milliseconds())});
  }
  return format_table(rows, 2);
}

OrderedJson to_json(const std::vector<CacheSpec>& specs, const std::vector<Score>& scores) {
  OrderedJson rows = OrderedJson::array();
  for (std::size_t i = 0; i < specs.size(); ++i) {
    rows.push_back({{"cache", specs[i].to_string()},
                    {"right", scores[i].right},
                    {"samples", scores[i].samples},
                    {"bytes", scores[i].bytes / scores[i].samples},
                    {"share_of_full", scores[i].share()},
                    {"decode_ms_per_token", scores[i].milliseconds()}});
  }
  return rows;
}

// One sample in plain sight: the needle where it stands, the question, what each cache answered.
void show(const NeedleSample& sample, const std::vector<CacheSpec>& specs, const std::vector<Score>& scores,
          std::size_t index, std::size_t tokens, bool exact) {
  const std::size_t at = sample.document.find(sample.answer);
  const std::size_t from = at == std::string::npos || at < 160 ? 0 : sample.document.find(' ', at - 160) + 1;
  const std::size_t to = std::min(sample.document.size(), at == std::string::npos ? 200 : at + 120);
  print_output("One of them in plain sight: a document of {} tokens, the needle at {:.0f} % of it:\n", tokens,
               100.0 * sample.depth);
  print_output("  ... {} ...\n", one_line(std::string_view(sample.document).substr(from, to - from)));
  print_output("  question: {}\n", sample.question);
  std::size_t width = 0;
  for (const CacheSpec& spec : specs) width = std::max(width, spec.to_string().size());
  for (std::size_t i = 0; i < specs.size(); ++i) {
    const std::string& answer = scores[i].answers[index];
    print_output("  {:<{}} answers {}{}\n", specs[i].to_string(), width, one_line(answer),
                 is_right(answer, sample, exact) ? "" : "  (wrong)");
  }
}

int execute(const Arguments& arguments) {
  std::vector<CacheSpec> specs;
  for (const std::string& text :
       arguments.specs.empty() ? default_specs(arguments.budget) : arguments.specs) {
    specs.push_back(CacheSpec::parse(text));
  }
  const auto model = arguments.model.load();
  const bool exact = arguments.exact();
  std::vector<NeedleSample> prose;
  if (arguments.count > 0) prose = read_samples(arguments.samples, arguments.count);
  std::string text;
  for (const std::string& path : arguments.texts) {
    if (std::filesystem::exists(path)) text += read_text(path) + "\n\n";
  }
  std::vector<NeedleSample> real;
  if (arguments.text_count > 0) {
    real = hide_needles(*model, text, arguments.text_tokens, arguments.text_count, 1);
  }

  catch_interrupts();
  const auto tokens = [&](const NeedleSample& sample) {
    return static_cast<std::size_t>(model->tokenize(sample.document, {.add_special = false}).size());
  };
  if (prose.empty() && real.empty()) fail_usage("demo: --count and --text-count are both 0; nothing to ask");
  if (!arguments.json && prose.empty()) print_output("{}\n", model->info().name);
  if (!arguments.json && !prose.empty()) {
    print_output("{}: {} documents of synthetic prose, about {} tokens each, a question at the end\n",
                 model->info().name, prose.size(), tokens(prose.front()));
    flush_output();
  }
  const std::vector<Score> prose_scores = run_all(model, prose, specs, exact);
  if (!arguments.json && !prose.empty()) print_output("{}\n", table(specs, prose_scores, exact));
  std::vector<Score> real_scores;
  if (!real.empty()) {
    if (!arguments.json) {
      print_output("{} documents of real text (this project's own files), about {} tokens each\n",
                   real.size(), tokens(real.front()));
      flush_output();
    }
    real_scores = run_all(model, real, specs, exact);
    if (!arguments.json) {
      print_output("{}\n", table(specs, real_scores, exact));
      show(real.front(), specs, real_scores, 0, tokens(real.front()), exact);
    }
  }
  if (arguments.json) {
    OrderedJson json;
    json["model"] = arguments.model.model;
    if (!prose.empty()) json["prose"] = to_json(specs, prose_scores);
    if (!real.empty()) json["text"] = to_json(specs, real_scores);
    write_output(dump(json));
  }
  return 0;
}

}  // namespace

Command add_demo_command(CLI::App& program) {
  auto arguments = std::make_shared<Arguments>();
  arguments->model.model = "models/thinkey-needle.gguf";
  CLI::App* app = program.add_subcommand("demo", "Compare caches on facts hidden in long documents");
  app->add_option("-m,--model", arguments->model.model, "Model: a .gguf file or a Hugging Face directory");
  app->add_option("--samples", arguments->samples, "JSON lines with document, question, answer");
  app->add_option("--text", arguments->texts, "Files of real text to hide needles in");
  app->add_option("--cache", arguments->specs, "A spec to compare; repeat it. Default: the demo's own list");
  app->add_option("--budget", arguments->budget, "Tokens each KV head keeps in the demo's own list");
  app->add_option("--count", arguments->count, "Samples of prose; 0: none");
  app->add_option("--text-count", arguments->text_count, "Samples of real text; 0: none");
  app->add_option("--text-tokens", arguments->text_tokens, "Tokens of each document of real text");
  app->add_option("--answers", arguments->answers,
                  "What counts: the answer alone (exact), or an answer that contains it (contained)")
      ->check(CLI::IsMember({"exact", "contained"}));
  app->add_flag("--json", arguments->json, "Figures as JSON instead of tables");
  arguments->model.add_compute(*app);
  add_examples(*app, {"thinkey demo", "thinkey demo --cache full --cache snapkv:256+think:0.5 --count 10"});
  return {app, [arguments] { return execute(*arguments); }};
}

}  // namespace thinkey::cli
