// RULER's question answering: the passages that answer, among passages of other questions.
#include <algorithm>

#include "eval/needle/prose.h"
#include "eval/needle/prose_words.h"
#include "eval/ruler/ruler_tasks.h"
#include "eval/run/json_lines.h"

namespace thinkey::eval {
namespace {

std::string prose_around(Random& random, const std::string& fact) {
  Prose prose(random());
  std::string text = prose.piece();
  text += prose.piece() + " " + fact;
  text += prose.piece();
  return text.substr(1);
}

// One fact in one passage.
Passages made_up_single(Random& random) {
  const Fact fact = random_fact(random);
  return {"What is the passkey for " + fact.key + "?",
          {fact.value},
          {prose_around(random, "The passkey for " + fact.key + " is " + fact.value + ".")}};
}

// Two facts in two passages, the second about what the first names.
Passages made_up_double(Random& random) {
  const Fact fact = random_fact(random);
  const std::string thing = std::string(pick(random, words::kColours)) + " " +
                            std::string(pick(random, words::kThings)) + " of " +
                            std::string(pick(random, words::kPlaces));
  return {"What is the passkey for the owner of the " + thing + "?",
          {fact.value},
          {prose_around(random, "The owner of the " + thing + " is " + fact.key + "."),
           prose_around(random, "The passkey for " + fact.key + " is " + fact.value + ".")}};
}

// `units` passages besides the supporting ones.
RulerSample qa_sample(const std::vector<Passages>& supplied, Passages (*make_up)(Random&), Random random,
                      std::size_t units) {
  const std::size_t asked = supplied.empty() ? 0 : below(random, supplied.size());
  const Passages question = supplied.empty() ? make_up(random) : supplied[asked];
  std::vector<std::pair<std::uint64_t, std::string>> passages;  // by random rank
  for (const std::string& passage : question.passages) passages.emplace_back(random(), passage);
  std::size_t left = units;
  const auto distract = [&](const Passages& other) {
    for (const std::string& passage : other.passages) {
      const bool known =
          std::find(question.passages.begin(), question.passages.end(), passage) != question.passages.end();
      if (left == 0 || known) continue;
      passages.emplace_back(random(), passage);
      --left;
    }
  };
  if (supplied.empty()) {
    while (left > 0) distract(make_up(random));
  } else {
    for (std::size_t i = 1; i < supplied.size() && left > 0; ++i) {
      distract(supplied[(asked + i) % supplied.size()]);
    }
  }
  std::sort(passages.begin(), passages.end());
  RulerSample sample;
  for (std::size_t i = 0; i < passages.size(); ++i) {
    sample.text +=
        (i == 0 ? "" : "\n\n") + ("Document " + std::to_string(i + 1) + ":\n") + passages[i].second;
  }
  sample.question = question.question;
  sample.references = question.answers;
  return sample;
}

}  // namespace

std::vector<Passages> read_passages(const std::filesystem::path& path) {
  std::vector<Passages> out;
  for (const JsonLine& line : read_json_lines(path)) {
    Passages question{line.text("question"), line.texts("answers"), line.texts("passages")};
    if (question.answers.empty()) line.fail("field \"answers\" is empty");
    if (question.passages.empty()) line.fail("field \"passages\" is empty");
    out.push_back(std::move(question));
  }
  return out;
}

void add_qa_tasks(std::vector<RulerTask>& tasks) {
  tasks.push_back({"qa_1", "question answering", 32, true,
                   [](const RulerSources& sources, Random random, std::size_t units) {
                     return qa_sample(sources.single_hop, made_up_single, random, units);
                   }});
  tasks.push_back({"qa_2", "question answering", 32, true,
                   [](const RulerSources& sources, Random random, std::size_t units) {
                     return qa_sample(sources.multi_hop, made_up_double, random, units);
                   }});
}

const std::vector<RulerTask>& ruler_tasks() {
  static const std::vector<RulerTask> tasks = [] {
    std::vector<RulerTask> list;
    add_retrieval_tasks(list);
    add_aggregation_tasks(list);
    add_qa_tasks(list);
    return list;
  }();
  return tasks;
}

}  // namespace thinkey::eval
