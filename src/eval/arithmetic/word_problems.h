// Arithmetic word problems with worked solutions, made by our own generator: each step needs the number
// before it, so an answer is right only where the whole chain survived in the cache.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "eval/run/random.h"

namespace thinkey::eval {

struct WordProblem {
  std::string story;     // ends with the question
  std::string solution;  // one equation per step, then "The answer is N."
  std::int64_t answer = 0;
};

// A problem of `steps` additions, subtractions, multiplications and divisions of whole numbers below 1000.
[[nodiscard]] WordProblem random_word_problem(Random& random, std::size_t steps);

// The number that `text` gives as its answer: the one after the last "answer is", else after the last "####"
// or in the last \boxed{}, else its last number. Signs, thousands separators and decimals that are zero are
// understood; nullopt where there is no whole number.
[[nodiscard]] std::optional<std::int64_t> stated_answer(std::string_view text);

// Whether `text` has stated its answer in full, so that what follows counts no more.
[[nodiscard]] bool states_answer(std::string_view text);

}  // namespace thinkey::eval
