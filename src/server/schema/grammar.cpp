#include "server/schema/grammar.h"

#include <algorithm>

namespace thinkey::server {

namespace {

// Rules that call each other before any byte; a bound on grammars that should not be.
constexpr std::size_t kMostPlaces = 20000;
constexpr std::size_t kMostElements = std::size_t{1} << 20U;

void require_room(std::size_t elements) {
  if (elements > kMostElements) throw GrammarError("the grammar is too large");
}

}  // namespace

ByteSet bytes_between(unsigned char first, unsigned char last) {
  ByteSet set;
  for (unsigned c = first; c <= last; ++c) set.set(c);
  return set;
}

Grammar::Rule Grammar::new_rule() {
  rules_.emplace_back();
  return static_cast<Rule>(rules_.size() - 1);
}

void Grammar::add(Rule rule, const Sequence& alternative) {
  require_room(elements_.size() + alternative.size());
  rules_[rule].push_back(static_cast<std::uint32_t>(elements_.size()));
  elements_.insert(elements_.end(), alternative.begin(), alternative.end());
  elements_.push_back({Element::Kind::End, 0});
}

Grammar::Rule Grammar::rule(const std::vector<Sequence>& alternatives) {
  const Rule out = new_rule();
  for (const Sequence& alternative : alternatives) add(out, alternative);
  return out;
}

Grammar::Element Grammar::bytes(const ByteSet& set) {
  const auto [at, fresh] = known_sets_.emplace(set.to_string(), static_cast<std::uint32_t>(sets_.size()));
  if (fresh) sets_.push_back(set);
  return {Element::Kind::Bytes, at->second};
}

Grammar::Sequence Grammar::literal(std::string_view text) {
  require_room(text.size());
  Sequence out;
  out.reserve(text.size());
  for (const char c : text) {
    const auto [at, fresh] = characters_.try_emplace(c);
    if (fresh) {
      at->second = bytes(bytes_between(static_cast<unsigned char>(c), static_cast<unsigned char>(c)));
    }
    out.push_back(at->second);
  }
  return out;
}

Grammar::Sequence operator+(Grammar::Sequence a, const Grammar::Sequence& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

GrammarAutomaton::GrammarAutomaton(Grammar grammar, Grammar::Rule start) : grammar_(std::move(grammar)) {
  std::vector<Place> tops;
  bool accepts = false;
  for (const std::uint32_t alternative : grammar_.alternatives(start)) {
    expand({.element = alternative, .below = kNone}, tops, accepts);
  }
  start_ = intern(std::move(tops), accepts);
}

GrammarAutomaton::Frame GrammarAutomaton::frame(Place place) {
  const auto [at, fresh] = known_frames_.emplace(place, static_cast<Frame>(frames_.size()));
  if (fresh) frames_.push_back(place);
  return at->second;
}

void GrammarAutomaton::expand(Place place, std::vector<Place>& tops, bool& accepts) {
  std::vector<Place> open = {place};
  std::size_t seen = 0;
  while (!open.empty()) {
    if (++seen > kMostPlaces) throw GrammarError("the grammar is too ambiguous");
    const Place at = open.back();
    open.pop_back();
    const Grammar::Element& element = grammar_.elements()[at.element];
    switch (element.kind) {
      case Grammar::Element::Kind::Bytes:
        tops.push_back(at);
        break;
      case Grammar::Element::Kind::End:
        if (at.below == kNone) {
          accepts = true;
        } else {
          open.push_back(frames_[static_cast<std::size_t>(at.below)]);
        }
        break;
      case Grammar::Element::Kind::Rule: {
        // A call that is the last of its sequence needs no frame: loops do not grow.
        const bool last = grammar_.elements()[at.element + 1].kind == Grammar::Element::Kind::End;
        const Frame below = last ? at.below : frame({.element = at.element + 1, .below = at.below});
        for (const std::uint32_t alternative : grammar_.alternatives(element.value)) {
          open.push_back({.element = alternative, .below = below});
        }
        break;
      }
    }
  }
}

GrammarAutomaton::State GrammarAutomaton::intern(std::vector<Place> tops, bool accepts) {
  if (tops.empty() && !accepts) return kDead;
  std::sort(tops.begin(), tops.end());
  tops.erase(std::unique(tops.begin(), tops.end()), tops.end());
  const auto [at, fresh] =
      known_states_.emplace(std::pair(tops, accepts), static_cast<State>(states_.size()));
  if (fresh) {
    Node node{.tops = std::move(tops), .accepts = accepts, .next = {}};
    node.next.fill(kUnknown);
    states_.push_back(std::move(node));
  }
  return at->second;
}

GrammarAutomaton::State GrammarAutomaton::next(State state, unsigned char byte) {
  if (state == kDead) return kDead;
  if (const State known = states_[static_cast<std::size_t>(state)].next[byte]; known != kUnknown) {
    return known;
  }
  std::vector<Place> tops;
  bool accepts = false;
  const std::vector<Place> from = states_[static_cast<std::size_t>(state)].tops;
  for (const Place& place : from) {
    if (!grammar_.set(grammar_.elements()[place.element].value).test(byte)) continue;
    expand({.element = place.element + 1, .below = place.below}, tops, accepts);
  }
  const State to = intern(std::move(tops), accepts);
  states_[static_cast<std::size_t>(state)].next[byte] = to;
  return to;
}

GrammarAutomaton::State GrammarAutomaton::next(State state, std::string_view bytes) {
  for (const char byte : bytes) {
    state = next(state, static_cast<unsigned char>(byte));
    if (state == kDead) break;
  }
  return state;
}

}  // namespace thinkey::server
