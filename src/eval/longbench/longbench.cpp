#include "eval/longbench/longbench.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <span>
#include <utility>

#include "base/fail.h"
#include "eval/needle/haystack.h"
#include "eval/report/summary.h"
#include "eval/run/generation.h"

namespace thinkey::eval {
namespace {

using Json = nlohmann::ordered_json;

// Everything the task's functions share.
struct LongBench {
  std::vector<LongBenchSample> samples;
  LongBenchPrompts prompts;
  std::shared_ptr<const ChineseSegmenter> segmenter;
  LongBenchOptions options;
  PromptEncoder chat, bare;
  std::size_t context = 0;

  [[nodiscard]] Question question(std::size_t i) const {
    const LongBenchSample& sample = samples[i];
    const LongBenchTask& task = longbench_task(sample.task);
    Question question;
    question.max_tokens = prompts.max_new_tokens.find(task.name)->second;
    question.references = sample.answers;
    question.prompt = encode_truncated(task.chat ? chat : bare, prompts.fill(sample), options.max_length,
                                       context - std::min(context, question.max_tokens));
    return question;
  }

  [[nodiscard]] double score(std::size_t i, std::string_view prediction) const {
    const LongBenchSample& sample = samples[i];
    return longbench_score(longbench_task(sample.task), prediction, sample.answers, sample.classes,
                           {.segmenter = *segmenter, .edit_ratio = options.edit_ratio});
  }

  // What follows a line that alone counts need not be generated.
  [[nodiscard]] bool finished(std::size_t i, std::string_view text) const {
    const std::size_t first = text.find_first_not_of('\n');
    return longbench_task(samples[i].task).first_line && first != std::string_view::npos &&
           text.find('\n', first) != std::string_view::npos;
  }
};

// Mean over the samples of one task, or over one of its length buckets.
double task_score(const std::vector<Record>& records, const std::string& cache, const std::string& task,
                  const std::string& bucket = {}) {
  Labels labels = {{"task", task}};
  if (!bucket.empty()) labels.emplace_back("length", bucket);
  return mean_of(records, {.cache = cache, .labels = std::move(labels)}, "score").value;
}

// Mean over the tasks that have a score.
double average(const std::vector<Record>& records, const std::string& cache,
               const std::vector<std::string>& tasks, const std::string& bucket = {}) {
  double sum = 0.0;
  double count = 0.0;
  for (const std::string& task : tasks) {
    const double score = task_score(records, cache, task, bucket);
    if (std::isnan(score)) continue;  // no samples
    sum += score;
    count += 1.0;
  }
  return sum / count;
}

std::vector<std::string> tasks_of_kind(const std::vector<std::string>& tasks, std::string_view kind) {
  std::vector<std::string> found;
  std::copy_if(tasks.begin(), tasks.end(), std::back_inserter(found),
               [&](const std::string& task) { return group_name(longbench_task(task).group) == kind; });
  return found;
}

// Hundredths as the official script prints them.
Cell score_cell(double score) { return number_cell(100.0 * score, 2); }

template <typename Score>
TableBlock table(const std::string& caption, const std::vector<std::string>& caches,
                 const std::vector<std::string>& columns, const Score& score) {
  TableBlock out{.caption = caption, .rows = {{"cache"}}};
  for (const std::string& column : columns) out.rows[0].emplace_back(column);
  for (const std::string& cache : caches) {
    std::vector<Cell> row = {cache};
    for (const std::string& column : columns) row.push_back(score_cell(score(cache, column)));
    out.rows.push_back(std::move(row));
  }
  return out;
}

}  // namespace

std::vector<std::int32_t> encode_truncated(const PromptEncoder& encoder, std::string_view text,
                                           std::size_t max_length, std::size_t room) {
  const std::vector<std::int32_t> ids = encoder.model().tokenize(text, {.add_special = false});
  const std::size_t length = ids.size();
  std::size_t limit = max_length > 0 ? max_length : length;
  if (length <= limit) {
    std::vector<std::int32_t> whole = encoder.encode(text);
    if (whole.size() <= room) return whole;
    limit = length - std::min(length, whole.size() - room);
  }
  // Text cut at token borders may become more tokens than it was.
  while (limit >= 2) {
    const std::size_t half = limit / 2;
    const std::string cut = encoder.model().detokenize(std::span(ids).first(half)) +
                            encoder.model().detokenize(std::span(ids).last(half));
    std::vector<std::int32_t> prompt = encoder.encode(cut);
    if (prompt.size() <= room) return prompt;
    limit -= std::min(limit, std::max<std::size_t>(prompt.size() - room, 2));
  }
  throw SampleSkipped(fmt::format("nothing of its prompt fits the {} tokens that the context leaves", room));
}

Task longbench_evaluation(std::shared_ptr<const Model> model, std::vector<LongBenchFile> files,
                          LongBenchPrompts prompts, std::shared_ptr<const ChineseSegmenter> segmenter,
                          const LongBenchOptions& options) {
  const std::size_t context = options.context > 0 ? options.context : model->info().context_length;
  auto shared = std::make_shared<LongBench>(LongBench{.samples = {},
                                                      .prompts = std::move(prompts),
                                                      .segmenter = std::move(segmenter),
                                                      .options = options,
                                                      .chat = PromptEncoder(model, options.chat),
                                                      .bare = PromptEncoder(model, ChatUse::Never),
                                                      .context = context});
  Task task{.name = "longbench", .settings = {}, .samples = {}, .measure = {}};
  Json described = Json::object();
  for (LongBenchFile& file : files) {
    const LongBenchTask& kind = longbench_task(file.task);
    described[file.task] = {{"data", file.fingerprint},
                            {"prompt", text_fingerprint(shared->prompts.prompts.find(kind.name)->second)},
                            {"max_new_tokens", shared->prompts.max_new_tokens.find(kind.name)->second}};
    for (LongBenchSample& sample : file.samples) {
      SampleKey key{.id = file.task + "/" + sample.id,
                    .labels = {{"task", file.task}, {"kind", std::string(group_name(kind.group))}}};
      if (file.task.ends_with("_e") && sample.length) {
        key.labels.emplace_back("length", std::string(length_bucket(*sample.length)));
      }
      task.samples.push_back(std::move(key));
      shared->samples.push_back(std::move(sample));
    }
  }
  Json settings = {{"tasks", std::move(described)},
                   {"prompts", shared->prompts.official_prompts ? "dataset2prompt.json" : "thinkey's own"},
                   {"chat", shared->chat.chat()},
                   {"context", context},
                   {"max_length", options.max_length}};
  // What scores depend on, where it matters.
  const auto any = [&](const auto& holds) {
    return std::any_of(files.begin(), files.end(),
                       [&](const LongBenchFile& file) { return holds(longbench_task(file.task)); });
  };
  if (any([](const LongBenchTask& t) { return !t.english; })) {
    settings["chinese_words"] = shared->segmenter->is_jieba() ? "jieba" : "single characters";
  }
  if (any([](const LongBenchTask& t) { return t.metric == LongBenchMetric::CodeSimilarity; })) {
    settings["code_similarity"] = options.edit_ratio == EditRatio::Difflib ? "difflib" : "levenshtein";
  }
  task.settings = settings.dump();
  task.measure = measure_generation(
      std::move(model),
      {.question = [shared](std::size_t sample) { return shared->question(sample); },
       .score = [shared](std::size_t sample, const Question&,
                         std::string_view prediction) { return shared->score(sample, prediction); },
       .finished = [shared](std::size_t sample,
                            std::string_view text) { return shared->finished(sample, text); },
       .context = options.context});
  return task;
}

Report longbench_report(const RunIdentity& identity, const RunOutcome& outcome) {
  const std::vector<Record>& records = outcome.records;
  const std::vector<std::string> caches = cache_names(records);
  const std::vector<std::string> tasks = label_values(records, "task");
  const std::vector<std::string> kinds = label_values(records, "kind");
  Report report;
  report.title = "LongBench: " + identity.model;
  const Json settings = Json::parse(identity.settings);
  std::string text =
      fmt::format("Model {}, weights {}. Prompts: {}; chat template: {}; context: {} tokens.", identity.model,
                  identity.weights, settings.value("prompts", ""),
                  settings.value("chat", false) ? "yes" : "no", settings.value("context", std::size_t{0}));
  if (settings.contains("code_similarity")) {
    text += fmt::format(" Code similarity: {}.", settings.value("code_similarity", ""));
  }
  if (settings.contains("chinese_words")) {
    text += fmt::format(" Chinese words: {}.", settings.value("chinese_words", ""));
    if (settings.value("chinese_words", "") != "jieba") {
      text +=
          " Scores of Chinese F1 and ROUGE over single characters are not comparable with published ones; "
          "install python3-jieba or give --jieba.";
    }
  }
  report.add_text(std::move(text));
  if (!outcome.skipped.empty()) {
    report.add_text(fmt::format("{} samples were left out, the first: {}: {}.", outcome.skipped.size(),
                                outcome.skipped.front().first, outcome.skipped.front().second));
  }

  std::vector<std::string> columns = tasks;
  constexpr const char* kAverage = "average";
  columns.emplace_back(kAverage);
  report.blocks.emplace_back(
      table("score by task", caches, columns, [&](const auto& cache, const auto& column) {
        return column == kAverage ? average(records, cache, tasks) : task_score(records, cache, column);
      }));
  report.blocks.emplace_back(
      table("average over the tasks of a kind", caches, kinds, [&](const auto& cache, const auto& kind) {
        return average(records, cache, tasks_of_kind(tasks, kind));
      }));
  std::vector<std::string> buckets = label_values(records, "length");
  std::sort(buckets.begin(), buckets.end());
  if (!buckets.empty()) {
    report.blocks.emplace_back(
        table("average over tasks by length, words", caches, buckets,
              [&](const auto& cache, const auto& bucket) { return average(records, cache, tasks, bucket); }));
  }
  report.blocks.emplace_back(cache_table(records, "mean of samples"));

  HeatMap map{.title = "score by task",
              .row_title = "",
              .column_title = "",
              .rows = tasks,
              .columns = {"score"},
              .panels = {},
              .decimals = 1,
              .shown = 100.0};
  for (const std::string& cache : caches) {
    HeatMap::Panel panel{.title = cache, .values = {}};
    for (const std::string& task : tasks) panel.values.push_back(task_score(records, cache, task));
    map.panels.push_back(std::move(panel));
  }
  if (!records.empty()) report.add_figure(heat_map_svg(map));

  Json json = Json::parse(summary_json(identity, outcome));
  for (Json& entry : json["caches"]) {
    const auto cache = entry["cache"].get<std::string>();
    entry["average"] = 100.0 * average(records, cache, tasks);
    for (const std::string& task : tasks) entry["tasks"][task] = 100.0 * task_score(records, cache, task);
    for (const std::string& kind : kinds) {
      entry["kinds"][kind] = 100.0 * average(records, cache, tasks_of_kind(tasks, kind));
    }
    for (const std::string& bucket : buckets) {
      entry["lengths"][bucket] = 100.0 * average(records, cache, tasks, bucket);
    }
  }
  report.json = json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
  return report;
}

}  // namespace thinkey::eval
