#include "eval/ruler/ruler.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <map>
#include <set>
#include <sstream>

#include "eval/run/generation.h"
#include "support.h"

namespace thinkey::eval::test {
namespace {

using ::testing::HasSubstr;

RulerSample sample_of(std::string_view name, std::size_t units, std::uint64_t seed = 1,
                      const RulerSources& sources = {}) {
  for (const RulerTask& task : ruler_tasks()) {
    if (task.name == name) return task.make(sources, Random(seed), units);
  }
  ADD_FAILURE() << name;
  return {};
}

TEST(Ruler, HasItsThirteenTasks) {
  std::map<std::string_view, int> categories;
  for (const RulerTask& task : ruler_tasks()) ++categories[task.category];
  EXPECT_EQ(ruler_tasks().size(), 13U);
  EXPECT_EQ(categories["retrieval"], 8);
  EXPECT_EQ(categories["aggregation"], 2);
}

TEST(Ruler, EverythingAskedForStandsInTheTextAndTheSeedDecides) {
  for (const RulerTask& task : ruler_tasks()) {
    const RulerSample sample = sample_of(task.name, 40);
    ASSERT_FALSE(sample.references.empty()) << task.name;
    for (const std::string& reference : sample.references) {
      EXPECT_THAT(sample.text, HasSubstr(reference)) << task.name;
      EXPECT_EQ(sample.question.find(reference), std::string::npos) << task.name;
    }
    EXPECT_EQ(sample_of(task.name, 40).text, sample.text) << task.name;
    EXPECT_NE(sample_of(task.name, 40, 2).text, sample.text) << task.name;
    EXPECT_GT(sample_of(task.name, 80).text.size(), sample.text.size()) << task.name;
    EXPECT_EQ(sample_of(task.name, 80).references, sample.references)
        << task.name << ": filling changes nothing else";
  }
}

TEST(Ruler, NeedleTasksHaveTheirNumbersOfNeedles) {
  const std::map<std::string_view, std::pair<std::size_t, std::size_t>> expected = {
      {"niah_single_1", {1, 1}},   {"niah_single_2", {1, 1}},    {"niah_single_3", {1, 1}},
      {"niah_multikey_1", {4, 1}}, {"niah_multikey_2", {51, 1}}, {"niah_multikey_3", {51, 1}},
      {"niah_multivalue", {4, 4}}, {"niah_multiquery", {4, 4}}};
  for (const auto& [name, numbers] : expected) {
    const RulerSample sample = sample_of(name, 50);
    EXPECT_EQ(occurrences(sample.text, "The passkey for "), numbers.first) << name;
    EXPECT_EQ(sample.references.size(), numbers.second) << name;
  }
  EXPECT_EQ(sample_of("niah_single_3", 5).references[0].size(), 36U);
  const RulerSample values = sample_of("niah_multivalue", 5);
  EXPECT_EQ(std::set<std::string>(values.references.begin(), values.references.end()).size(), 4U);
}

// Follows the chain as a reader would.
TEST(Ruler, VariableTracking) {
  for (std::uint64_t seed = 1; seed < 20; ++seed) {
    const RulerSample sample = sample_of("vt", 30, seed);
    std::istringstream words(sample.text);
    std::map<std::string, std::string> values;
    for (std::string word; words >> word;) {
      if (word != "VAR") continue;
      std::string name;
      std::string equals;
      std::string value;
      words >> name >> equals >> value;
      if (value == "VAR") {
        words >> value;
        value.pop_back();
        ASSERT_TRUE(values.contains(value)) << "assigned before it is used";
        value = values[value];
      } else {
        value.pop_back();
      }
      values[name] = value;
    }
    EXPECT_EQ(values.size(), 5U);
    for (const std::string& name : sample.references) EXPECT_THAT(sample.question, HasSubstr(values[name]));
  }
}

std::map<std::string, int> counted(const std::string& text, std::size_t from) {
  std::istringstream words(text.substr(from));
  std::map<std::string, int> counts;
  for (std::string word; words >> word;) {
    if (word.back() == '.') word.pop_back();
    if (!word.empty() && (word[0] < '0' || word[0] > '9')) ++counts[word];
  }
  return counts;
}

// The references are the most frequent words, and every other word is less frequent.
void expect_most_frequent(const RulerSample& sample) {
  const std::map<std::string, int> counts = counted(sample.text, sample.text.find('\n'));
  int least = 1 << 30;
  for (const std::string& word : sample.references) least = std::min(least, counts.at(word));
  for (const auto& [word, count] : counts) {
    if (std::find(sample.references.begin(), sample.references.end(), word) == sample.references.end()) {
      EXPECT_LT(count, least) << word;
    }
  }
}

TEST(Ruler, CommonAndFrequentWords) {
  for (const std::size_t units : {0, 5, 100, 1000}) {
    expect_most_frequent(sample_of("cwe", units));
    expect_most_frequent(sample_of("fwe", units));
    RulerSources sources;
    sources.length = 8192;
    expect_most_frequent(sample_of("cwe", units, 1, sources));
  }
  EXPECT_EQ(sample_of("cwe", 9).references.size(), 10U);
  EXPECT_EQ(sample_of("fwe", 9).references.size(), 3U);
}

TEST(Ruler, SuppliedPassages) {
  RulerSources sources;
  for (int i = 0; i < 5; ++i) {
    const std::string n = std::to_string(i);
    sources.single_hop.push_back({"question " + n, {"answer " + n}, {"passage " + n + ": answer " + n}});
  }
  const RulerSample sample = sample_of("qa_1", 2, 1, sources);
  EXPECT_EQ(occurrences(sample.text, "passage "), 3U);
  EXPECT_THAT(sample.text, HasSubstr("passage " + sample.question.substr(9)));
  EXPECT_EQ(occurrences(sample_of("qa_1", 100, 1, sources).text, "passage "), 5U)
      << "each once, however long";
}

// Lengths are met closely from below, by every task; no model runs here.
TEST(Ruler, PromptsFillTheirLengths) {
  const auto model = bundled_model();
  RulerOptions options;
  options.lengths = {2048};
  options.samples = 1;
  const Task task = ruler_task(model, ChatUse::Auto, {}, options);
  ASSERT_EQ(task.samples.size(), 13U);
  RulerOptions too_short = options;
  too_short.lengths = {100};
  const Task tight = ruler_task(model, ChatUse::Auto, {}, too_short);
  EXPECT_THROW(tight.measure(0, {}, {}, {}), SampleSkipped);
  // With a context of the prompt's size the sample is refused, and says how long it is.
  options.context = 1;
  const Task looked_at = ruler_task(model, ChatUse::Auto, {}, options);
  for (std::size_t i = 0; i < looked_at.samples.size(); ++i) {
    try {
      looked_at.measure(i, {}, {}, {});
      ADD_FAILURE() << looked_at.samples[i].id;
    } catch (const SampleSkipped& skipped) {
      long prompt = 0;
      long answer = 0;
      ASSERT_EQ(std::sscanf(skipped.what(), "a prompt of %ld tokens and %ld of an answer", &prompt, &answer),
                2);
      EXPECT_LE(prompt + answer, 2048) << looked_at.samples[i].id;
      EXPECT_GT(prompt + answer, 1900) << looked_at.samples[i].id;
    }
  }
}

TEST(Ruler, RefusesUnknownTasks) {
  RulerOptions options;
  options.lengths = {1024};
  options.tasks = {"niah"};
  EXPECT_THAT(error_of([&] { static_cast<void>(ruler_task(tiny_model(), ChatUse::Never, {}, options)); }),
              HasSubstr("unknown RULER task \"niah\"; choose from niah_single_1"));
}

}  // namespace
}  // namespace thinkey::eval::test
