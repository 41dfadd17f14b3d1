#include "eval/ruler/ruler.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/fail.h"
#include "eval/longbench/scores.h"
#include "eval/report/summary.h"
#include "eval/run/generation.h"

namespace thinkey::eval {
namespace {

const RulerTask& task_named(const std::string& name) {
  std::string names;
  for (const RulerTask& task : ruler_tasks()) {
    if (task.name == name) return task;
    names += (names.empty() ? "" : ", ") + std::string(task.name);
  }
  fail_usage("unknown RULER task \"{}\"; choose from {}", name, names);
}

struct Ruler {
  PromptEncoder encoder;
  RulerSources sources;
  RulerOptions options;
  std::vector<SampleKey> keys;
  std::vector<std::pair<const RulerTask*, std::size_t>> kinds;  // of each sample; with its length

  struct Made {
    RulerSample sample;
    std::vector<std::int32_t> prompt;
  };

  [[nodiscard]] Made make(std::size_t index, std::size_t units) const {
    const auto& [task, length] = kinds[index];
    RulerSources own = sources;
    own.length = length;
    Made made{task->make(own, random_for(options.seed, keys[index].id), units), {}};
    // A model without chat form is led to the answer.
    made.prompt =
        encoder.encode(made.sample.text + "\n\n" + made.sample.question, encoder.chat() ? "" : "\nAnswer:");
    return made;
  }

  // As much filling as the length allows: found by proportion, a few tries.
  [[nodiscard]] Question question(std::size_t index) const {
    constexpr int kTries = 8;
    const auto& [task, length] = kinds[index];
    const auto room = static_cast<double>(length) - static_cast<double>(task->max_tokens);
    Made best = make(index, 0);
    const auto bare = static_cast<double>(best.prompt.size());
    if (bare > room) {
      throw SampleSkipped(
          fmt::format("without any filling it is {} tokens, the length is {} of which {} are for the "
                      "answer",
                      best.prompt.size(), length, task->max_tokens));
    }
    std::size_t low = 0;  // known to fit
    std::size_t high =
        static_cast<std::size_t>(room) + 1;  // units that are too many: each is a token at least
    auto units = static_cast<std::size_t>(std::max(1.0, (room - bare) / 20.0));
    for (int i = 0; i < kTries && low + 1 < high; ++i) {
      units = std::clamp(units, low + 1, high - 1);
      Made made = make(index, units);
      const auto size = static_cast<double>(made.prompt.size());
      const double each = std::max(0.5, (size - bare) / static_cast<double>(units));
      if (size <= room) {
        // No growth: the task's data are exhausted.
        const bool exhausted = low > 0 && made.prompt.size() == best.prompt.size();
        low = units;
        best = std::move(made);
        if (exhausted || size >= 0.985 * room) break;
      } else {
        high = units;
      }
      units = static_cast<std::size_t>(std::max(1.0, 0.995 * (room - bare) / each));
    }
    return {.prompt = std::move(best.prompt),
            .references = best.sample.references,
            .max_tokens = task->max_tokens};
  }

  [[nodiscard]] double score(std::size_t index, const Question& question, std::string_view prediction) const {
    return kinds[index].first->any_reference ? match_part(prediction, question.references)
                                             : match_all(prediction, question.references);
  }
};

}  // namespace

Task ruler_task(std::shared_ptr<const Model> model, ChatUse chat, RulerSources sources,
                const RulerOptions& options) {
  if (options.lengths.empty()) fail_usage("no lengths to evaluate RULER at");
  std::vector<const RulerTask*> chosen;
  for (const std::string& name : options.tasks) chosen.push_back(&task_named(name));
  if (chosen.empty()) {
    for (const RulerTask& task : ruler_tasks()) chosen.push_back(&task);
  }
  auto ruler =
      std::make_shared<Ruler>(Ruler{PromptEncoder(model, chat), std::move(sources), options, {}, {}});
  for (const std::size_t length : options.lengths) {
    for (const RulerTask* task : chosen) {
      for (std::size_t i = 0; i < options.samples; ++i) {
        ruler->keys.push_back({fmt::format("{}/{}/{}", length, task->name, i),
                               {{"task", std::string(task->name)},
                                {"category", std::string(task->category)},
                                {"length", std::to_string(length)}}});
        ruler->kinds.emplace_back(task, length);
      }
    }
  }
  const nlohmann::ordered_json settings = {{"haystack", options.haystack},
                                           {"qa_1", options.qa_1},
                                           {"qa_2", options.qa_2},
                                           {"chat", ruler->encoder.chat()},
                                           {"seed", options.seed}};
  Task task{.name = "ruler", .settings = settings.dump(), .samples = ruler->keys, .measure = {}};
  task.measure = measure_generation(
      std::move(model),
      {.question = [ruler](std::size_t sample) { return ruler->question(sample); },
       .score = [ruler](std::size_t sample, const Question& question,
                        std::string_view prediction) { return ruler->score(sample, question, prediction); },
       .context = options.context});
  return task;
}

Report ruler_report(const RunIdentity& identity, const RunOutcome& outcome) {
  Report report = score_report(
      "RULER", identity, outcome,
      {{"task", "score by task"}, {"category", "score by category"}, {"length", "score by length, tokens"}});
  if (!outcome.records.empty()) {
    HeatMap map = score_heat_map(outcome.records, "task", "length", "score by task and length, percent");
    map.column_title = "length, tokens";
    report.add_figure(heat_map_svg(map));
  }
  return report;
}

}  // namespace thinkey::eval
