// Context-free grammars over bytes, and an automaton that follows them.
#pragma once

#include <array>
#include <bitset>
#include <cstddef>
#include <cstdint>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace thinkey::server {

// A grammar that is too large, or too ambiguous, to be followed.
struct GrammarError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

using ByteSet = std::bitset<256>;
[[nodiscard]] ByteSet bytes_between(unsigned char first, unsigned char last);

// Rules that refer to each other; none may begin with itself. What would have more than a million elements is
// a GrammarError.
class Grammar {
 public:
  using Rule = std::uint32_t;

  struct Element {
    enum class Kind : std::uint8_t { Bytes, Rule, End } kind = Kind::End;
    std::uint32_t value = 0;  // of the byte sets, or a rule
  };
  using Sequence = std::vector<Element>;

  [[nodiscard]] Rule new_rule();
  void add(Rule rule, const Sequence& alternative);
  [[nodiscard]] Rule rule(const std::vector<Sequence>& alternatives);

  [[nodiscard]] Element bytes(const ByteSet& set);
  [[nodiscard]] static Element call(Rule rule) { return {Element::Kind::Rule, rule}; }
  [[nodiscard]] Sequence literal(std::string_view text);

  // Elements of all alternatives, one after another, each alternative ending with End.
  [[nodiscard]] const std::vector<Element>& elements() const noexcept { return elements_; }
  [[nodiscard]] const std::vector<std::uint32_t>& alternatives(Rule rule) const { return rules_[rule]; }
  [[nodiscard]] const ByteSet& set(std::uint32_t i) const { return sets_[i]; }

 private:
  std::vector<Element> elements_;
  std::vector<std::vector<std::uint32_t>> rules_;  // where alternatives begin
  std::vector<ByteSet> sets_;
  std::map<std::string, std::uint32_t> known_sets_;
  std::map<char, Element> characters_;  // of literals
};

// Sequences of alternatives joined.
[[nodiscard]] Grammar::Sequence operator+(Grammar::Sequence a, const Grammar::Sequence& b);

// All places where a text may be in a grammar, as states of a deterministic automaton that is made as far as
// texts go.
class GrammarAutomaton {
 public:
  using State = std::int32_t;
  static constexpr State kDead = -1;

  GrammarAutomaton(Grammar grammar, Grammar::Rule start);

  [[nodiscard]] State start() const noexcept { return start_; }
  [[nodiscard]] State next(State state, unsigned char byte);
  [[nodiscard]] State next(State state, std::string_view bytes);
  // The text may end here.
  [[nodiscard]] bool accepts(State state) const { return states_[static_cast<std::size_t>(state)].accepts; }
  // Nothing may follow.
  [[nodiscard]] bool ends(State state) const {
    return accepts(state) && states_[static_cast<std::size_t>(state)].tops.empty();
  }
  [[nodiscard]] std::size_t size() const noexcept { return states_.size(); }

 private:
  // Where to go on when a rule ends: an element, then what is beneath.
  using Frame = std::int32_t;
  static constexpr Frame kNone = -1;
  static constexpr State kUnknown = -2;

  struct Place {
    std::uint32_t element = 0;
    Frame below = kNone;
    bool operator==(const Place&) const = default;
    auto operator<=>(const Place&) const = default;
  };
  struct Node {
    std::vector<Place> tops;  // each at a set of bytes
    bool accepts = false;
    std::array<State, 256> next;
  };

  [[nodiscard]] Frame frame(Place place);
  void expand(Place place, std::vector<Place>& tops, bool& accepts);
  [[nodiscard]] State intern(std::vector<Place> tops, bool accepts);

  Grammar grammar_;
  std::vector<Place> frames_;
  std::map<Place, Frame> known_frames_;
  std::vector<Node> states_;
  std::map<std::pair<std::vector<Place>, bool>, State> known_states_;
  State start_ = kDead;
};

}  // namespace thinkey::server
