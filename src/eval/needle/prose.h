// Synthetic prose, and facts with keys and five-digit values: training/generator.py in C++.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "eval/run/random.h"

namespace thinkey::eval {

class Prose {
 public:
  explicit Prose(std::uint64_t seed) : random_(seed) { until_break_ = paragraph(); }

  // The next sentence with the space or line break before it.
  [[nodiscard]] std::string piece();

 private:
  [[nodiscard]] std::size_t paragraph() { return 4 + below(random_, 6); }
  [[nodiscard]] std::string sentence();

  Random random_;
  std::size_t until_break_ = 0;
};

// A name: a place, a person, an adjective and a noun, or an invented word.
[[nodiscard]] std::string random_key(Random& random);

// Five digits without a leading zero.
[[nodiscard]] std::string random_value(Random& random);

struct Fact {
  std::string key;
  std::string value;
};

// A pair of the eighth of all pairs that the bundled model's training never showed.
[[nodiscard]] Fact random_fact(Random& random);

// `text` with every "{name}" replaced.
[[nodiscard]] std::string replaced(std::string text, std::string_view placeholder, std::string_view value);

}  // namespace thinkey::eval
