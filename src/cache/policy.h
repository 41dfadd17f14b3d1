// What an eviction policy is to the rest of the cache: a name with options, some facts, and a scorer. A
// policy is one file in policies/, which describes its options struct by a PolicyBuilder
// (docs/adding-a-policy.md).
#pragma once

#include <cmath>
#include <functional>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "backend/layer_store.h"
#include "cache/spec_words.h"
#include "thinkey/cache_spec.h"

namespace thinkey {

// The score of a token that stays whatever others score.
inline constexpr float kAlwaysKept = std::numeric_limits<float>::infinity();

// A layer's tokens to be scored: all of a prompt, or those that are held when it is evicted again. Elements
// stay with the store, which is asked for statistics.
struct ScoredTokens {
  const AttentionShape& shape;
  const LayerStore& store;
  const PromptView* prompt = nullptr;  // null: the tokens held
  std::vector<std::size_t> counts;     // n of each KV head
  std::int64_t next = 0;               // the position after the last
  std::size_t budget = 0;              // B

  // Attention that tokens receive from the last `queries` queries (held: from those remembered), [Hkv][G *
  // n].
  [[nodiscard]] TokenNumbers attention(std::size_t queries) const;
  // Ascending, but that a store may hold its first tokens (whole) among the recent ones.
  [[nodiscard]] std::vector<std::int32_t> positions(std::size_t kv_head) const;
  // How many tokens at the front stand before position `sinks`.
  [[nodiscard]] std::size_t leading(std::size_t kv_head, std::size_t sinks) const;
};

// Scores the tokens of one layer, once: the highest are kept.
class Scorer {
 public:
  virtual ~Scorer() = default;
  // Every prompt query once, in order, if the policy observes all.
  virtual void observe(const AttentionShape&, const LayerStore&, const QueryRange&) {}
  // Every query of the replays, if the policy asks for them.
  virtual void replay(const AttentionShape&, const LayerStore&, const ReplayRange&) {}
  // [Hkv][n]
  [[nodiscard]] virtual TokenNumbers scores(const ScoredTokens& tokens) = 0;
};

struct PolicyOption {
  std::string_view name;
  bool flag = false;  // it has no value
  std::function<void(PolicyOptions&, std::string_view spec, std::string_view value)> set;
  std::function<std::string(const PolicyOptions&)> print;  // "name=value"; empty: its default
  std::function<void(const PolicyOptions&)> check;         // Error(Usage)
};

struct Policy {
  std::string_view name, paper, summary;
  PolicyOptions standard;
  std::vector<PolicyOption> options;
  bool ranks = true;         // its scores compare tokens: adakv, critical and chunk can work on them
  bool evicts_again = true;  // it can score what is held
  bool replays = false;      // it needs the model to repeat the prompt
  bool unrotates = false;    // it looks at keys as they were before RoPE
  std::string_view always;   // options that say what is always kept
  std::function<bool(const PolicyOptions&)> question_dependent;
  std::function<std::size_t(const PolicyOptions&)> least;   // tokens always kept
  std::function<std::size_t(const PolicyOptions&)> window;  // last prompt queries it looks at
  // Latest queries it looks at when evicting again.
  std::function<std::size_t(const PolicyOptions&)> remembered;
  std::function<bool(const PolicyOptions&)> observes_all;
  std::function<bool(const PolicyOptions&)> weighs_outputs;  // by the model's output weights, W_o
  std::function<std::unique_ptr<Scorer>(const PolicyOptions&)> scorer;
  // B of a layer from that of all, [layer] of [layers]; empty: the same.
  std::function<std::size_t(const PolicyOptions&, std::size_t budget, std::size_t tokens, std::size_t layer,
                            std::size_t layers)>
      layer_budget;
};

// The policy that a spec names; nullptr for none.
[[nodiscard]] const Policy* policy_of(const PolicyOptions& options);
// Error(Usage) for what needs the model itself: its repetition of the prompt (kvzip), its output weights.
void refuse_without_model(const CacheSpec& spec);
// All but none, in the order of PolicyOptions.
[[nodiscard]] const std::vector<const Policy*>& all_policies();

// A policy's description, defined in its file.
template <typename Options>
[[nodiscard]] const Policy& describe();
template <>
const Policy& describe<SnapKV>();
template <>
const Policy& describe<H2O>();
template <>
const Policy& describe<PyramidKV>();
template <>
const Policy& describe<Streaming>();
template <>
const Policy& describe<Tova>();
template <>
const Policy& describe<ExpectedAttention>();
template <>
const Policy& describe<KeyDiff>();
template <>
const Policy& describe<KVzip>();
template <>
const Policy& describe<Compactor>();
template <>
const Policy& describe<LagKV>();
template <>
const Policy& describe<RKV>();

template <typename Options>
class PolicyBuilder {
 public:
  PolicyBuilder(std::string_view name, std::string_view paper, std::string_view summary) {
    policy_.name = name;
    policy_.paper = paper;
    policy_.summary = summary;
    policy_.standard = Options{};
    policy_.question_dependent = policy_.observes_all =
        policy_.weighs_outputs = [](const PolicyOptions&) { return false; };
    policy_.least = policy_.window = policy_.remembered = [](const PolicyOptions&) { return std::size_t{0}; };
  }

  // Options, in the order in which they are printed.
  PolicyBuilder& whole(std::string_view name, std::size_t Options::*field, std::size_t least,
                       std::size_t most = kMostTokens) {
    return option(
        name, field, [name](std::string_view spec, std::string_view v) { return integer(spec, name, v); },
        [=](const Options& o) { within(name, o.*field, least, most); });
  }
  PolicyBuilder& odd(std::string_view name, std::size_t Options::*field) {
    return option(
        name, field, [name](std::string_view spec, std::string_view v) { return integer(spec, name, v); },
        [=](const Options& o) {
          within(name, o.*field, 1, 1023);
          if (o.*field % 2 == 0) fail_usage("cache spec: {} is {}, must be odd", name, o.*field);
        });
  }
  PolicyBuilder& real(std::string_view name, double Options::*field, double least, double most) {
    return option(
        name, field, [name](std::string_view spec, std::string_view v) { return ratio(spec, name, v); },
        [=](const Options& o) {
          if (!(o.*field >= least && o.*field <= most)) {
            fail_usage("cache spec: {} is {}, must be {} to {}", name, o.*field, least, most);
          }
        });
  }
  template <typename Field>
  PolicyBuilder& choice(std::string_view name, Field Options::*field,
                        std::vector<std::pair<std::string_view, Field>> choices) {
    policy_.options.push_back(
        {.name = name,
         .flag = false,
         .set =
             [=](PolicyOptions& o, std::string_view spec, std::string_view value) {
               std::string words;
               for (const auto& [word, meaning] : choices) {
                 if (word == value) {
                   std::get<Options>(o).*field = meaning;
                   return;
                 }
                 words += (words.empty() ? "" : " or ") + std::string(word);
               }
               fail_usage("cache spec '{}': {} is {}, not '{}'", spec, name, words, value);
             },
         .print =
             [=](const PolicyOptions& o) {
               for (const auto& [word, meaning] : choices) {
                 if (meaning == std::get<Options>(o).*field && meaning != Options{}.*field) {
                   return fmt::format("{}={}", name, word);
                 }
               }
               return std::string();
             },
         .check = [](const PolicyOptions&) {}});
    return *this;
  }
  PolicyBuilder& flag(std::string_view name, bool Options::*field) {
    policy_.options.push_back(
        {.name = name,
         .flag = true,
         .set = [=](PolicyOptions& o, std::string_view,
                    std::string_view) { std::get<Options>(o).*field = true; },
         .print =
             [=](const PolicyOptions& o) { return std::string(std::get<Options>(o).*field ? name : ""); },
         .check = [](const PolicyOptions&) {}});
    return *this;
  }

  // Facts. Functions take the options.
  template <typename Function>
  PolicyBuilder& question_dependent(Function f) {
    policy_.question_dependent = erased(f);
    return *this;
  }
  // Tokens that are always kept, as the options `words` say.
  template <typename Function>
  PolicyBuilder& always_keeps(std::string_view words, Function f) {
    policy_.always = words;
    policy_.least = erased(f);
    return *this;
  }
  // Last queries it looks at, of a prompt and when evicting again.
  template <typename Function>
  PolicyBuilder& looks_at(Function f) {
    policy_.window = policy_.remembered = erased(f);
    return *this;
  }
  template <typename Function>
  PolicyBuilder& remembers(Function f) {
    policy_.remembered = erased(f);
    return *this;
  }
  template <typename Function>
  PolicyBuilder& observes_all(Function f) {
    policy_.observes_all = erased(f);
    return *this;
  }
  PolicyBuilder& replays() {
    policy_.replays = true;
    return *this;
  }
  template <typename Function>
  PolicyBuilder& weighs_outputs(Function f) {
    policy_.weighs_outputs = erased(f);
    return *this;
  }
  PolicyBuilder& unrotates() {
    policy_.unrotates = true;
    return *this;
  }
  PolicyBuilder& prompts_only() {
    policy_.evicts_again = false;
    return *this;
  }
  PolicyBuilder& has_no_ranking() {
    policy_.ranks = false;
    return *this;
  }
  template <typename Function>
  PolicyBuilder& layer_budget(Function f) {
    policy_.layer_budget = [f](const PolicyOptions& o, std::size_t budget, std::size_t tokens,
                               std::size_t layer, std::size_t layers) {
      return f(std::get<Options>(o), budget, tokens, layer, layers);
    };
    return *this;
  }
  // ScorerType is made of the options.
  template <typename ScorerType>
  [[nodiscard]] Policy scored_by() {
    policy_.scorer = [](const PolicyOptions& o) -> std::unique_ptr<Scorer> {
      return std::make_unique<ScorerType>(std::get<Options>(o));
    };
    return policy_;
  }

 private:
  template <typename Function>
  static auto erased(Function f) {
    return [f](const PolicyOptions& o) { return f(std::get<Options>(o)); };
  }
  template <typename Field, typename Read, typename Check>
  PolicyBuilder& option(std::string_view name, Field Options::*field, Read read, Check check) {
    policy_.options.push_back(
        {.name = name,
         .flag = false,
         .set = [=](PolicyOptions& o, std::string_view spec,
                    std::string_view value) { std::get<Options>(o).*field = read(spec, value); },
         .print =
             [=](const PolicyOptions& o) {
               const Field value = std::get<Options>(o).*field;
               return value == Options{}.*field ? std::string() : fmt::format("{}={}", name, value);
             },
         .check = [=](const PolicyOptions& o) { check(std::get<Options>(o)); }});
    return *this;
  }

  Policy policy_;
};

// Mean over the group's heads of numbers [G * n], of the first `count` tokens: pooled along tokens over
// `kernel` of them (odd; zeros beyond the ends, which an average counts).
[[nodiscard]] std::vector<float> pooled_votes(std::span<const float> votes, std::size_t group,
                                              std::size_t tokens, std::size_t count, std::size_t kernel,
                                              Pooling pooling);

// Those scores with the tokens after them always kept: [tokens].
[[nodiscard]] std::vector<float> with_kept_tail(std::vector<float> scores, std::size_t tokens);

}  // namespace thinkey
