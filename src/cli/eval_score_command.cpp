// thinkey eval score: LongBench's metrics alone, on predictions any program has made.
#include <algorithm>
#include <array>
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "base/fail.h"
#include "cli/commands.h"
#include "cli/eval_arguments.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/report.h"
#include "cli/score_arguments.h"
#include "eval/longbench/longbench_samples.h"
#include "eval/report/summary.h"

namespace thinkey::cli {
namespace {

struct Arguments {
  ScoreArguments score;
  std::string task, predictions, json;
};

struct Bucket {
  std::string name;
  double sum = 0.0;
  std::size_t count = 0;
};

int execute(const Arguments& arguments) {
  const eval::LongBenchTask& task = eval::longbench_task(arguments.task);
  if (!arguments.json.empty()) require_writable(arguments.json);
  const std::vector<eval::LongBenchPrediction> predictions =
      eval::read_predictions(task, arguments.predictions);
  const auto segmenter =
      task.english ? std::make_shared<const eval::ChineseSegmenter>() : arguments.score.segmenter();
  const eval::ScoreOptions options{.segmenter = *segmenter, .edit_ratio = arguments.score.edit_ratio()};

  std::vector<double> scores;
  double sum = 0.0;
  std::array<Bucket, 3> buckets = {Bucket{"0-4k"}, Bucket{"4-8k"}, Bucket{"8k+"}};
  std::size_t with_length = 0;
  for (const eval::LongBenchPrediction& prediction : predictions) {
    scores.push_back(
        eval::longbench_score(task, prediction.prediction, prediction.answers, prediction.classes, options));
    sum += scores.back();
    if (!prediction.length) continue;
    ++with_length;
    const auto bucket = std::find_if(buckets.begin(), buckets.end(), [&](const Bucket& b) {
      return b.name == eval::length_bucket(*prediction.length);
    });
    bucket->sum += scores.back();
    ++bucket->count;
  }
  const double score = 100.0 * sum / static_cast<double>(scores.size());

  eval::Report report;
  report.title = fmt::format("{}: {}", arguments.task, eval::metric_name(task.metric));
  if (!task.english) report.add_text(fmt::format("Chinese words: {}.", segmenter->name()));
  if (task.metric == eval::LongBenchMetric::CodeSimilarity) {
    report.add_text(fmt::format("Ratio: {}.", arguments.score.similarity));
  }
  eval::TableBlock table;
  table.rows.push_back({"samples", "score", "predictions"});
  table.rows.push_back({"all", eval::number_cell(score, 2), std::to_string(scores.size())});
  OrderedJson json = {{"task", arguments.task},
                      {"metric", std::string(eval::metric_name(task.metric))},
                      {"score", score},
                      {"samples", scores.size()}};
  if (!task.english) json["chinese_words"] = segmenter->is_jieba() ? "jieba" : "single characters";
  if (with_length == scores.size()) {
    for (const Bucket& bucket : buckets) {
      const double mean = 100.0 * bucket.sum / static_cast<double>(bucket.count);  // NaN: no samples
      table.rows.push_back(
          {bucket.name + " words", eval::number_cell(mean, 2), std::to_string(bucket.count)});
      json["lengths"][bucket.name] = mean;
    }
  }
  report.blocks.emplace_back(std::move(table));
  json["scores"] = scores;
  report.json = dump(json);
  publish(report, arguments.json, "");
  return 0;
}

}  // namespace

Command add_eval_score_command(CLI::App& eval) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* app = eval.add_subcommand("score", "LongBench's metrics alone, on a file of predictions");
  app->add_option("--task", arguments->task, "The LongBench task whose metric and rules apply")
      ->required()
      ->type_name("NAME");
  app->add_option("predictions", arguments->predictions,
                  "JSON lines as the official script writes them: pred, answers, all_classes, length")
      ->required()
      ->type_name("FILE");
  arguments->score.add(*app);
  app->add_option("--json", arguments->json, "Write the score of every line as JSON")->type_name("FILE");
  add_examples(*app, {"thinkey eval score --task hotpotqa pred/model/hotpotqa.jsonl"});
  return {app, [arguments] { return execute(*arguments); }};
}

}  // namespace thinkey::cli
