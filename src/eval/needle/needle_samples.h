// Questions for the demo and the frontier: held-out samples of the bundled model's generator, and needles
// hidden in real text.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "thinkey/model.h"

namespace thinkey::eval {

struct NeedleSample {
  std::string document;
  std::string question;
  std::string answer;
  double depth = 0.0;  // where the needle stands in the document, 0 to 1

  // The user's message of the chat: document, then question.
  [[nodiscard]] std::string message() const { return document + "\n\n" + question; }
};

// At most `limit` samples of a JSON-lines file with document, question, answer and depth.
// Error(Data) names file and line.
[[nodiscard]] std::vector<NeedleSample> read_samples(const std::filesystem::path& path, std::size_t limit);

// `count` samples of about `tokens` tokens cut from `text` (a paragraph per blank line), each with
// three facts of the form "The passkey for KEY is DIGITS." hidden at random depths, one of them asked
// for. The same seed gives the same samples. Error(Data) when the text is too short.
[[nodiscard]] std::vector<NeedleSample> hide_needles(const Model& model, const std::string& text,
                                                     std::size_t tokens, std::size_t count,
                                                     std::uint64_t seed);

}  // namespace thinkey::eval
