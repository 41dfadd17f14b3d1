// Needle in a haystack: a fact at a chosen depth of a document of a chosen length, and a question about it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "eval/needle/haystack.h"
#include "eval/report/report.h"
#include "eval/run/prompt.h"
#include "eval/run/run.h"
#include "eval/run/task.h"

namespace thinkey::eval {

struct NeedleOptions {
  std::vector<std::size_t> lengths;  // tokens of prompt and answer together
  std::vector<double> depths;        // percent of the document before the needle
  std::size_t repeats = 4;           // samples per length and depth
  // {key} and {value} are replaced by a name and a five-digit number, new ones for every sample.
  std::string needle = "The passkey for {key} is {value}.";
  std::string question = "What is the passkey for {key}?";
  std::string answer = "{value}";
  bool rouge = false;    // ROUGE-1 recall of the answer instead of its occurrence
  std::string haystack;  // what `Haystack` was made from, for the record; "" for prose
  std::size_t max_tokens = 24;
  std::size_t context = 0;
  std::uint64_t seed = 1;
};

// Error(Usage) for options that make no sense, such as a length that does not hold needle and question.
[[nodiscard]] Task needle_task(std::shared_ptr<const Model> model, ChatUse chat, Haystack haystack,
                               const NeedleOptions& options);

// The table over caches, and the heat map depth x length with one panel per cache.
[[nodiscard]] Report needle_report(const RunIdentity& identity, const RunOutcome& outcome);

// Lengths for a context: 1024, 2048, ... up to it; half and whole of a smaller one.
[[nodiscard]] std::vector<std::size_t> default_lengths(std::size_t context);

}  // namespace thinkey::eval
