#include "eval/arithmetic/arithmetic.h"

#include <gtest/gtest.h>

#include <sstream>
#include <string>

#include "eval/arithmetic/word_problems.h"
#include "support.h"

namespace thinkey::eval::test {
namespace {

// Every equation of a solution holds, starts from the number before it, and its new number stands in the
// story.
TEST(WordProblems, SolutionsAreRightAndFollowFromTheStory) {
  Random random(7);
  for (std::size_t i = 0; i < 300; ++i) {
    const std::size_t steps = 1 + i % 9;
    const WordProblem problem = random_word_problem(random, steps);
    std::istringstream lines(problem.solution);
    std::int64_t held = 0;
    for (std::size_t s = 0; s < steps; ++s) {
      std::int64_t a = 0;
      std::int64_t b = 0;
      std::int64_t result = 0;
      char sign = 0;
      char equals = 0;
      char stop = 0;
      lines >> a >> sign >> b >> equals >> result >> stop;
      ASSERT_TRUE(lines) << problem.solution;
      ASSERT_TRUE(s == 0 || a == held) << problem.solution;
      EXPECT_NE(problem.story.find(std::to_string(s == 0 ? a : b)), std::string::npos) << problem.story;
      switch (sign) {
        case '+':
          EXPECT_EQ(a + b, result);
          break;
        case '-':
          EXPECT_EQ(a - b, result);
          break;
        case '*':
          EXPECT_EQ(a * b, result);
          break;
        default:
          EXPECT_EQ(sign, '/');
          EXPECT_EQ(b * result, a);
      }
      held = result;
    }
    EXPECT_EQ(problem.answer, held);
    EXPECT_EQ(stated_answer(problem.solution), held);
  }
}

TEST(WordProblems, TheSeedDecides) {
  Random a(3);
  Random b(3);
  Random c(4);
  const std::string story = random_word_problem(a, 6).story;
  EXPECT_EQ(random_word_problem(b, 6).story, story);
  EXPECT_NE(random_word_problem(c, 6).story, story);
}

TEST(WordProblems, StatedAnswers) {
  const std::pair<const char*, std::optional<std::int64_t>> cases[] = {
      {"3 + 4 = 7.\nThe answer is 7.", 7},
      {"So the answer is **1,234** apples", 1234},
      {"The answer is 12. No: the answer is -5.", -5},
      {"#### 42", 42},
      {"thus $\\boxed{18}$", 18},
      {"5 - 3 = 2", 2},
      {"10-3", 3},
      {"The answer is 8.00.", 8},
      {"The answer is 8.50.", 1'000'000'000'000},
      {"The answer is unknown, 9", 9},
      {"99999999999999999999999", 1'000'000'000'000},
      {"none", std::nullopt},
      {"", std::nullopt},
      {"the answer is", std::nullopt}};
  for (const auto& [text, answer] : cases) EXPECT_EQ(stated_answer(text), answer) << text;
}

TEST(WordProblems, AnAnswerIsStatedOnceItsNumberHasEnded) {
  EXPECT_FALSE(states_answer("12 + 3 = 15.\n"));
  EXPECT_FALSE(states_answer("The answer is "));
  EXPECT_FALSE(states_answer("The answer is 1"));
  EXPECT_FALSE(states_answer("The answer is 15."));  // may become 15.5
  EXPECT_TRUE(states_answer("The answer is 15.\n"));
  EXPECT_TRUE(states_answer("The answer is 15 apples"));
}

TEST(Arithmetic, PromptsHoldWorkedExamplesAndTheTaskScoresExactly) {
  const auto model = bundled_model();
  ArithmeticOptions options{.steps = {2}, .samples = 2, .shots = 1, .max_tokens = 8};
  const Task task = arithmetic_task(model, ChatUse::Never, options);
  ASSERT_EQ(task.samples.size(), 2U);
  EXPECT_EQ(task.samples[1].id, "2/1");
  const std::vector<CacheSpec> specs = {CacheSpec{}, CacheSpec::parse("turbo:4")};
  std::vector<Record> records;
  task.measure(0, specs, Hooks{}, [&](std::size_t, Record record) { records.push_back(std::move(record)); });
  ASSERT_EQ(records.size(), 2U);
  for (const Record& record : records) {
    EXPECT_GT(record.value("prompt_tokens"), 50.0);
    EXPECT_TRUE(record.value("score") == 0.0 || record.value("score") == 1.0);
  }
  options.steps = {0};
  EXPECT_THROW(static_cast<void>(arithmetic_task(model, ChatUse::Never, options)), Error);
}

}  // namespace
}  // namespace thinkey::eval::test
