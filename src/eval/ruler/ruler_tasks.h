// RULER's thirteen tasks (2404.06654): how one sample's text, question and references are made. The wording
// and the data are our own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "eval/needle/haystack.h"
#include "eval/run/random.h"

namespace thinkey::eval {

// A question with the passages that answer it.
struct Passages {
  std::string question;
  std::vector<std::string> answers;   // any of them is right
  std::vector<std::string> passages;  // that support the answer; those of other questions distract
};

// JSON lines {"question": ..., "answers": [...], "passages": [...]}; Error(Data) names file and line.
[[nodiscard]] std::vector<Passages> read_passages(const std::filesystem::path& path);

struct RulerSources {
  Haystack haystack;
  std::vector<Passages> single_hop, multi_hop;  // for qa_1 and qa_2; empty: made up
  std::size_t length = 0;                       // of the sample, tokens: cwe repeats words less in short ones
};

struct RulerSample {
  std::string text;      // context
  std::string question;  // after it
  std::vector<std::string> references;
};

struct RulerTask {
  std::string_view name;      // RULER's
  std::string_view category;  // "retrieval", "multi-hop tracing", "aggregation", "question answering"
  std::size_t max_tokens;     // of the answer, as RULER has it
  bool any_reference;         // scored by match_part instead of match_all
  // `units` of filling (sentences, needles, words, passages): the more, the longer. A task may return fewer
  // than asked for when its data are exhausted.
  std::function<RulerSample(const RulerSources& sources, Random random, std::size_t units)> make;
};

// In RULER's order.
[[nodiscard]] const std::vector<RulerTask>& ruler_tasks();

// Parts of the list, by file.
void add_retrieval_tasks(std::vector<RulerTask>& tasks);    // niah_*
void add_aggregation_tasks(std::vector<RulerTask>& tasks);  // vt, cwe, fwe
void add_qa_tasks(std::vector<RulerTask>& tasks);           // qa_1, qa_2

}  // namespace thinkey::eval
