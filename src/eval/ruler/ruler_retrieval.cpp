// RULER's eight needle tasks.
#include <algorithm>
#include <array>
#include <set>

#include "eval/needle/prose.h"
#include "eval/ruler/ruler_tasks.h"

namespace thinkey::eval {
namespace {

enum class Filling { Noise, Prose, Needles };

struct NeedleForm {
  Filling filling = Filling::Prose;
  std::size_t keys = 1;                         // facts in the text besides the filling
  std::size_t values = 1;                       // per key
  std::size_t queries = 1;                      // keys asked for
  bool long_keys = false, long_values = false;  // random hexadecimal identifiers
};

// 128 random bits in the usual form, 8-4-4-4-12.
std::string identifier(Random& random) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (const std::size_t group : {8, 4, 4, 4, 12}) {
    if (!text.empty()) text += '-';
    for (std::size_t i = 0; i < group; ++i) text += kDigits[below(random, kDigits.size())];
  }
  return text;
}

// Facts with distinct keys.
class Facts {
 public:
  Facts(Random& random, const NeedleForm& form) : random_(random), form_(form) {}

  Fact next() {
    for (;;) {
      Fact fact = form_.long_keys || form_.long_values ? Fact{random_key(random_), random_value(random_)}
                                                       : random_fact(random_);
      if (form_.long_keys) fact.key = identifier(random_);
      if (form_.long_values) fact.value = identifier(random_);
      if (used_.insert(fact.key).second) return fact;
    }
  }

 private:
  Random& random_;
  const NeedleForm& form_;
  std::set<std::string> used_;
};

std::string sentence_of(const Fact& fact) {
  return " The passkey for " + fact.key + " is " + fact.value + ".";
}

std::vector<std::string> filling(const RulerSources& sources, const NeedleForm& form, Random& random,
                                 Facts& facts, std::size_t units) {
  constexpr std::array<std::string_view, 5> kNoise = {" The grass is green.", " The sky is blue.",
                                                      " The sun is yellow.", " Here we go.",
                                                      " There and back again."};
  std::vector<std::string> pieces;
  if (form.filling == Filling::Noise) {
    for (std::size_t i = 0; i < units; ++i) pieces.emplace_back(kNoise[i % kNoise.size()]);
  } else if (form.filling == Filling::Needles) {
    for (std::size_t i = 0; i < units; ++i) pieces.push_back(sentence_of(facts.next()));
  } else {
    const auto source = sources.haystack.open(random);
    for (std::size_t i = 0; i < units; ++i) pieces.push_back(source());
  }
  return pieces;
}

std::string question_for(const NeedleForm& form, const std::vector<std::string>& keys) {
  if (form.queries == 1 && form.values == 1) return "What is the passkey for " + keys.front() + "?";
  if (form.queries == 1) return "What are all the passkeys for " + keys.front() + " in the text?";
  std::string list;
  for (std::size_t i = 0; i < keys.size(); ++i) {
    list += (i == 0 ? "" : i + 1 == keys.size() ? " and " : ", ") + keys[i];
  }
  return "What are the passkeys for " + list + "?";
}

RulerSample needle_sample(const RulerSources& sources, const NeedleForm& form, Random random,
                          std::size_t units) {
  RulerSample sample;
  Facts facts(random, form);
  std::vector<std::string> keys;
  std::vector<std::string> needles;
  for (std::size_t k = 0; k < form.keys; ++k) {
    Fact fact = facts.next();
    const bool asked = k < form.queries;
    if (asked) keys.push_back(fact.key);
    for (std::size_t v = 0; v < form.values; ++v) {
      if (v > 0) fact.value = form.long_values ? identifier(random) : random_value(random);
      needles.push_back(sentence_of(fact));
      if (asked) sample.references.push_back(fact.value);
    }
  }
  // Where they stand, drawn before the filling: as shares of it, so that more filling moves nothing else.
  std::vector<std::pair<double, std::string>> places;
  for (std::string& needle : needles) {
    places.emplace_back(static_cast<double>(below(random, 1U << 20U)) / (1U << 20U), std::move(needle));
  }
  std::vector<std::string> pieces = filling(sources, form, random, facts, units);
  std::sort(places.begin(), places.end(), std::greater<>());
  for (auto& [share, needle] : places) {
    const auto at = static_cast<std::ptrdiff_t>(share * static_cast<double>(pieces.size() + 1));
    pieces.insert(pieces.begin() + at, std::move(needle));
  }
  sample.text = join(pieces);
  sample.question = question_for(form, keys);
  return sample;
}

}  // namespace

void add_retrieval_tasks(std::vector<RulerTask>& tasks) {
  const auto add = [&](std::string_view name, const NeedleForm& form) {
    tasks.push_back({name, "retrieval", 128, false,
                     [form](const RulerSources& sources, Random random, std::size_t units) {
                       return needle_sample(sources, form, random, units);
                     }});
  };
  add("niah_single_1", {.filling = Filling::Noise});
  add("niah_single_2", {});
  add("niah_single_3", {.long_values = true});
  add("niah_multikey_1", {.keys = 4});
  add("niah_multikey_2", {.filling = Filling::Needles});
  add("niah_multikey_3", {.filling = Filling::Needles, .long_keys = true, .long_values = true});
  add("niah_multivalue", {.values = 4});
  add("niah_multiquery", {.keys = 4, .queries = 4});
}

}  // namespace thinkey::eval
