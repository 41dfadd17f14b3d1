// Scores of generated text against references, each in [0, 1].
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace thinkey::eval {

// Every character in lower case (simple mapping of Unicode); bytes that are not UTF-8 stay.
[[nodiscard]] std::string lower_case(std::string_view text);

// Without white space at both ends.
[[nodiscard]] std::string_view trimmed(std::string_view text);

// RULER's string_match_all: the share of references that occur in the prediction, ignoring case.
[[nodiscard]] double match_all(std::string_view prediction, const std::vector<std::string>& references);

// RULER's string_match_part: 1 if any reference occurs, ignoring case.
[[nodiscard]] double match_part(std::string_view prediction, const std::vector<std::string>& references);

// ROUGE-1 recall: the share of the reference's words (letters and digits, lower case, counted with their
// number of occurrences) that the prediction has; the best over references.
[[nodiscard]] double rouge1_recall(std::string_view prediction, const std::vector<std::string>& references);

}  // namespace thinkey::eval
