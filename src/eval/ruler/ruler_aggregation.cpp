// RULER's variable tracking, common words and frequent words.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "eval/needle/prose.h"
#include "eval/needle/prose_words.h"
#include "eval/ruler/ruler_tasks.h"

namespace thinkey::eval {
namespace {

std::string letters(Random& random, std::size_t count, char first) {
  std::string text;
  for (std::size_t i = 0; i < count; ++i) {
    text += static_cast<char>(first + static_cast<char>(below(random, 26)));
  }
  return text;
}

// A chain of assignments hidden in noise: a number and the four variables it is handed on to.
RulerSample variable_tracking(const RulerSources&, Random random, std::size_t units) {
  constexpr std::size_t kHops = 4;
  RulerSample sample;
  const std::string value = random_value(random);
  std::set<std::string> names;
  std::vector<std::string> chain;
  while (sample.references.size() <= kHops) {
    const std::string name = letters(random, 5, 'A');
    if (!names.insert(name).second) continue;
    const std::string assigned = sample.references.empty() ? value : "VAR " + sample.references.back();
    chain.push_back(fmt::format(" VAR {} = {}.", name, assigned));
    sample.references.push_back(name);
  }
  std::vector<double> places;
  for (std::size_t i = 0; i < chain.size(); ++i) {
    places.push_back(static_cast<double>(below(random, 1U << 20U)) / (1U << 20U));
  }
  std::sort(places.begin(), places.end());  // an assignment follows the one it refers to
  std::vector<std::string> pieces(units, " The grass is green. The sky is blue. The sun is yellow.");
  for (std::size_t i = chain.size(); i-- > 0;) {
    const auto at = static_cast<std::ptrdiff_t>(places[i] * static_cast<double>(units + 1));
    pieces.insert(pieces.begin() + at, chain[i]);
  }
  sample.text = join(pieces);
  sample.question = "Which variables have the value " + value + "? List the names of all " +
                    std::to_string(sample.references.size()) + " of them.";
  return sample;
}

// Distinct words: invented ones, so that there are as many as a long text needs.
class Words {
 public:
  explicit Words(Random& random) : random_(random) {}

  std::string next() {
    for (;;) {
      std::string word;
      for (std::size_t i = 2 + below(random_, 2); i > 0; --i) word += pick(random_, words::kSyllables);
      if (used_.insert(word).second) return word;
    }
  }

 private:
  Random& random_;
  std::set<std::string> used_;
};

// A numbered list in which ten words occur often and the others seldom; `units`: words that are seldom.
RulerSample common_words(const RulerSources& sources, Random random, std::size_t units) {
  constexpr std::size_t kCommon = 10;
  const bool is_short = sources.length < 4096;
  const std::size_t often = is_short ? 10 : 30;
  const std::size_t seldom = is_short ? 1 : 3;
  RulerSample sample;
  Words invented(random);
  std::vector<std::string> list;
  for (std::size_t i = 0; i < kCommon; ++i) {
    sample.references.push_back(invented.next());
    list.insert(list.end(), often, sample.references.back());
  }
  // The syllables make about 40000 words; more would never be found.
  for (std::size_t i = 0; i < std::min<std::size_t>(units, 30000); ++i) {
    list.insert(list.end(), seldom, invented.next());
  }
  shuffle(random, list);
  sample.text = "Below is a numbered list of words. Some of them occur more often than others.\n";
  for (std::size_t i = 0; i < list.size(); ++i) {
    sample.text += (i == 0 ? "" : " ") + std::to_string(i + 1) + ". " + list[i];
  }
  sample.question = "Which 10 words occur most often in the list?";
  return sample;
}

// Coded words whose numbers of occurrences fall as 1 / rank^2; the three most frequent are asked for.
RulerSample frequent_words(const RulerSources&, Random random, std::size_t units) {
  constexpr std::size_t kAsked = 3;
  constexpr double kZeta2 = 1.6449340668482264;
  RulerSample sample;
  std::set<std::string> used;
  std::vector<std::string> list;
  const auto all = static_cast<double>(units + 12);
  for (std::size_t rank = 1; list.size() < units + 12; ++rank) {
    std::string word;
    do {
      word = letters(random, 6, 'a');
    } while (!used.insert(word).second);
    const auto wanted = static_cast<std::size_t>(all / kZeta2 / static_cast<double>(rank * rank));
    // The three asked for are more frequent than the rest, however short the text.
    const std::size_t least = rank <= kAsked ? kAsked + 2 - rank : 1;
    list.insert(list.end(), std::max(wanted, least), word);
    if (rank <= kAsked) sample.references.push_back(word);
  }
  shuffle(random, list);
  sample.text = "Below is a text of coded words. Count how often each of them occurs.\n";
  for (std::size_t i = 0; i < list.size(); ++i) sample.text += (i == 0 ? "" : " ") + list[i];
  sample.text += ".";
  sample.question = "Which three coded words occur most often in the text?";
  return sample;
}

}  // namespace

void add_aggregation_tasks(std::vector<RulerTask>& tasks) {
  tasks.push_back({"vt", "multi-hop tracing", 30, false, variable_tracking});
  tasks.push_back({"cwe", "aggregation", 120, false, common_words});
  tasks.push_back({"fwe", "aggregation", 50, false, frequent_words});
}

}  // namespace thinkey::eval
