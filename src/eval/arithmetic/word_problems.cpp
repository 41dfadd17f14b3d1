#include "eval/arithmetic/word_problems.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>

namespace thinkey::eval {
namespace {

constexpr std::array<std::string_view, 16> kNames = {"Ada",   "Bruno", "Chloe", "Dmitri", "Elena", "Farid",
                                                     "Greta", "Hugo",  "Ines",  "Jonas",  "Katya", "Luis",
                                                     "Mina",  "Nils",  "Olga",  "Pavel"};
constexpr std::array<std::string_view, 12> kThings = {"apples",  "stamps", "marbles", "shells",
                                                      "buttons", "coins",  "pencils", "cards",
                                                      "tickets", "seeds",  "bricks",  "candles"};
constexpr std::array<std::string_view, 4> kMore = {
    "Then {0} buys {1} more.", "A neighbour brings {0} another {1}.", "{0} finds {1} more in a drawer.",
    "On the way home {0} is given {1} more."};
constexpr std::array<std::string_view, 4> kFewer = {
    "{0} gives {1} of them to a friend.", "Then {0} loses {1} of them.",
    "{0} sells {1} of them at the market.", "{1} of them turn out to be broken, and {0} throws those away."};
constexpr std::array<std::string_view, 2> kTimes = {
    "{0} goes on collecting until there are {1} times as many.",
    "A cousin helps, and now {0} has {1} times as many as before."};
constexpr std::array<std::string_view, 2> kShare = {
    "{0} shares them equally among {1} boxes and keeps only one of the boxes.",
    "They are divided equally among {1} children, of whom {0} is one."};

constexpr std::int64_t kMost = 1000;

std::int64_t between(Random& random, std::int64_t low, std::int64_t high) {
  return low + static_cast<std::int64_t>(below(random, static_cast<std::size_t>(high - low + 1)));
}

// One step that is possible from `held`: what happens, and the equation's sign, number and result.
struct Step {
  std::string_view sentence;
  char sign = '+';
  std::int64_t number = 0;
  std::int64_t result = 0;
};

Step random_step(Random& random, std::int64_t held) {
  for (;;) {
    switch (below(random, 6)) {
      case 0:
      case 1: {
        const std::int64_t more = between(random, 3, 60);
        if (held + more < kMost) return {pick(random, kMore), '+', more, held + more};
        break;
      }
      case 2:
      case 3: {
        if (held < 8) break;
        const std::int64_t fewer = between(random, 2, std::min<std::int64_t>(held - 4, 80));
        return {pick(random, kFewer), '-', fewer, held - fewer};
      }
      case 4: {
        const std::int64_t times = between(random, 2, 5);
        if (held * times < kMost) return {pick(random, kTimes), '*', times, held * times};
        break;
      }
      default: {
        const std::int64_t parts = between(random, 2, 6);
        if (held % parts == 0 && held / parts >= 4) {
          return {pick(random, kShare), '/', parts, held / parts};
        }
      }
    }
  }
}

// The whole number at or after `at`, and where it ends; "1,234", "-5", "$7" and "8.00" are numbers.
struct Found {
  std::int64_t value = 0;
  std::size_t end = 0;
};
std::optional<Found> number_from(std::string_view text, std::size_t at) {
  const auto digit = [&](std::size_t i) {
    return i < text.size() && std::isdigit(static_cast<unsigned char>(text[i])) != 0;
  };
  while (at < text.size() && !digit(at)) ++at;
  if (at == text.size()) return std::nullopt;
  const bool negative = at > 0 && text[at - 1] == '-' && (at == 1 || !digit(at - 2));
  std::int64_t value = 0;
  constexpr std::int64_t kLimit = 1'000'000'000'000;
  for (; digit(at) || (text.substr(at, 1) == "," && digit(at + 1) && digit(at + 2) && digit(at + 3)); ++at) {
    if (text[at] != ',') value = std::min(kLimit, value * 10 + (text[at] - '0'));
  }
  if (text.substr(at, 1) == "." && digit(at + 1)) {
    bool whole = true;
    for (++at; digit(at); ++at) whole = whole && text[at] == '0';
    if (!whole) value = kLimit;  // no whole number, so no answer of ours
  }
  return Found{negative ? -value : value, at};
}

constexpr std::array<std::string_view, 3> kMarks = {"answer is", "####", "\\boxed{"};

}  // namespace

WordProblem random_word_problem(Random& random, std::size_t steps) {
  WordProblem problem;
  const std::string_view name = pick(random, kNames);
  const std::string_view things = pick(random, kThings);
  std::int64_t held = between(random, 10, 60);
  problem.story = fmt::format("{} has {} {}.", name, held, things);
  for (std::size_t i = 0; i < steps; ++i) {
    const Step step = random_step(random, held);
    problem.story += " " + fmt::format(fmt::runtime(step.sentence), name, step.number);
    problem.solution += fmt::format("{} {} {} = {}.\n", held, step.sign, step.number, step.result);
    held = step.result;
  }
  problem.story += fmt::format(" How many {} does {} have in the end?", things, name);
  problem.solution += fmt::format("The answer is {}.", held);
  problem.answer = held;
  return problem;
}

std::optional<std::int64_t> stated_answer(std::string_view text) {
  for (const std::string_view mark : kMarks) {
    if (const std::size_t at = text.rfind(mark); at != std::string_view::npos) {
      if (const std::optional<Found> found = number_from(text, at + mark.size())) return found->value;
    }
  }
  std::optional<std::int64_t> last;
  for (std::optional<Found> found = number_from(text, 0); found; found = number_from(text, found->end)) {
    last = found->value;
  }
  return last;
}

bool states_answer(std::string_view text) {
  return std::any_of(kMarks.begin(), kMarks.end(), [&](std::string_view mark) {
    const std::size_t at = text.rfind(mark);
    if (at == std::string_view::npos) return false;
    const std::optional<Found> found = number_from(text, at + mark.size());
    // A following character shows that the number is whole; a separator may still belong to it.
    return found && found->end + 1 < text.size();
  });
}

}  // namespace thinkey::eval
