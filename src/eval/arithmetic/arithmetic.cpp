#include "eval/arithmetic/arithmetic.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <utility>

#include "base/fail.h"
#include "eval/arithmetic/word_problems.h"
#include "eval/report/summary.h"
#include "eval/run/generation.h"

namespace thinkey::eval {
namespace {

struct Arithmetic {
  PromptEncoder encoder;
  ArithmeticOptions options;
  std::vector<SampleKey> keys;
  std::vector<std::size_t> steps;  // of each sample

  [[nodiscard]] Question question(std::size_t sample) const {
    Random random = random_for(options.seed, keys[sample].id);
    std::string text =
        "Solve the last problem step by step, one equation per line, and end with \"The answer is N.\"\n\n";
    for (std::size_t i = 0; i < options.shots; ++i) {
      const WordProblem shown = random_word_problem(random, steps[sample]);
      text += "Problem: " + shown.story + "\nSolution:\n" + shown.solution + "\n\n";
    }
    const WordProblem asked = random_word_problem(random, steps[sample]);
    return {.prompt =
                encoder.encode(text + "Problem: " + asked.story + "\nSolution:", encoder.chat() ? "" : "\n"),
            .references = {std::to_string(asked.answer)},
            .max_tokens = options.max_tokens};
  }
};

void check(const ArithmeticOptions& options) {
  if (options.steps.empty()) fail_usage("no numbers of steps to make problems of");
  constexpr std::size_t kMostSteps = 64;
  for (const std::size_t steps : options.steps) {
    if (steps == 0 || steps > kMostSteps) fail_usage("{} steps: it must be 1 to {}", steps, kMostSteps);
  }
}

}  // namespace

Task arithmetic_task(std::shared_ptr<const Model> model, ChatUse chat, const ArithmeticOptions& options) {
  check(options);
  auto arithmetic = std::make_shared<Arithmetic>(Arithmetic{PromptEncoder(model, chat), options, {}, {}});
  for (const std::size_t steps : options.steps) {
    for (std::size_t i = 0; i < options.samples; ++i) {
      arithmetic->keys.push_back({fmt::format("{}/{}", steps, i), {{"steps", std::to_string(steps)}}});
      arithmetic->steps.push_back(steps);
    }
  }
  const nlohmann::ordered_json settings = {{"shots", options.shots},
                                           {"chat", arithmetic->encoder.chat()},
                                           {"max_tokens", options.max_tokens},
                                           {"seed", options.seed}};
  Task task{.name = "arithmetic", .settings = settings.dump(), .samples = arithmetic->keys, .measure = {}};
  task.measure = measure_generation(
      std::move(model),
      {.question = [arithmetic](std::size_t sample) { return arithmetic->question(sample); },
       .score =
           [](std::size_t, const Question& question, std::string_view prediction) {
             const std::optional<std::int64_t> answer = stated_answer(prediction);
             return answer && std::to_string(*answer) == question.references.front() ? 1.0 : 0.0;
           },
       .finished = [](std::size_t, std::string_view text) { return states_answer(text); },
       .context = options.context});
  return task;
}

Report arithmetic_report(const RunIdentity& identity, const RunOutcome& outcome) {
  return score_report("Arithmetic word problems", identity, outcome, {{"steps", "score by number of steps"}});
}

}  // namespace thinkey::eval
