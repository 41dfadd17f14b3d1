#include "server/schema/grammar_filter.h"

#include <algorithm>
#include <unordered_map>

#include "engine/model_impl.h"

namespace thinkey::server {
namespace {

constexpr std::size_t kMostStates = 50000;  // then the automaton is begun anew
constexpr std::size_t kMostMasks = 16;

class GrammarFilter : public TokenFilter {
 public:
  GrammarFilter(std::shared_ptr<const VocabularyTrie> trie, const FilterGrammar& grammar)
      : trie_(std::move(trie)),
        grammar_(grammar),
        automaton_(std::make_unique<GrammarAutomaton>(grammar.grammar, grammar.start)),
        state_(automaton_->start()),
        bound_(grammar.trigger.empty()) {
    for (std::size_t id = 0; id < trie_->vocabulary(); ++id) {
      const std::string& text = trie_->control(static_cast<std::int32_t>(id));
      if (text.empty()) continue;
      if (std::find(grammar.markers.begin(), grammar.markers.end(), text) != grammar.markers.end()) {
        markers_.push_back(static_cast<std::int32_t>(id));
      }
    }
  }

  bool allows(std::int32_t token) override {
    if (!bound_) return true;
    if (is_end(token)) return automaton_->accepts(state_);
    const std::string_view bytes = text(token);
    return !bytes.empty() && automaton_->next(state_, bytes) != GrammarAutomaton::kDead;
  }

  void allow(std::span<std::uint8_t> allowed) override {
    if (!bound_) {
      std::fill(allowed.begin(), allowed.end(), std::uint8_t{1});
      return;
    }
    const auto known = masks_.find(state_);
    if (known != masks_.end()) {
      std::copy(known->second.begin(), known->second.end(), allowed.begin());
      return;
    }
    std::fill(allowed.begin(), allowed.end(), std::uint8_t{0});
    walk(0, state_, allowed);
    for (const std::int32_t id : markers_) {
      if (automaton_->next(state_, trie_->control(id)) != GrammarAutomaton::kDead) at(allowed, id) = 1;
    }
    for (const std::int32_t id : trie_->ends()) at(allowed, id) = automaton_->accepts(state_) ? 1 : 0;
    if (masks_.size() >= kMostMasks) masks_.clear();
    masks_[state_] = {allowed.begin(), allowed.end()};
  }

  void accept(std::int32_t token) override {
    const std::string_view bytes = is_end(token) ? std::string_view() : text(token);
    if (!bound_) {
      watch(bytes);
      return;
    }
    written_ += bytes;
    state_ = automaton_->next(state_, bytes);
    if (automaton_->size() > kMostStates) begin_anew();
    if (!grammar_.trigger.empty() && state_ != GrammarAutomaton::kDead && automaton_->ends(state_)) release();
  }

  bool finished() const override { return bound_ && grammar_.trigger.empty() && automaton_->ends(state_); }

 private:
  static std::uint8_t& at(std::span<std::uint8_t> allowed, std::int32_t id) {
    return allowed[static_cast<std::size_t>(id)];
  }
  [[nodiscard]] bool is_end(std::int32_t token) const {
    return std::find(trie_->ends().begin(), trie_->ends().end(), token) != trie_->ends().end();
  }
  // A token's bytes; none of control tokens that the grammar does not use.
  [[nodiscard]] std::string_view text(std::int32_t token) const {
    if (std::find(markers_.begin(), markers_.end(), token) != markers_.end()) return trie_->control(token);
    return trie_->bytes(token);
  }

  void walk(std::uint32_t node, GrammarAutomaton::State state, std::span<std::uint8_t> allowed) {
    const VocabularyTrie::Node& n = trie_->nodes()[node];
    for (std::uint32_t t = n.first_token; t < n.first_token + n.tokens; ++t)
      at(allowed, trie_->tokens()[t]) = 1;
    for (std::uint32_t c = n.first_child; c < n.first_child + n.children; ++c) {
      const auto to = automaton_->next(state, trie_->nodes()[c].byte);
      if (to != GrammarAutomaton::kDead) walk(c, to, allowed);
    }
  }

  // Looks for the trigger in what is written freely.
  void watch(std::string_view bytes) {
    seen_ += bytes;
    const std::size_t found = seen_.find(grammar_.trigger);
    if (found == std::string::npos) {
      if (seen_.size() > grammar_.trigger.size()) seen_.erase(0, seen_.size() - grammar_.trigger.size());
      return;
    }
    const std::string rest = seen_.substr(found + grammar_.trigger.size());
    const auto state = automaton_->next(automaton_->start(), rest);
    seen_.clear();
    if (state == GrammarAutomaton::kDead) return;  // it has already left the grammar within this token
    bound_ = true;
    written_ = rest;
    state_ = state;
  }

  void release() {
    bound_ = false;
    written_.clear();
    state_ = automaton_->start();
  }

  void begin_anew() {
    masks_.clear();
    automaton_ = std::make_unique<GrammarAutomaton>(grammar_.grammar, grammar_.start);
    state_ = automaton_->next(automaton_->start(), written_);
  }

  std::shared_ptr<const VocabularyTrie> trie_;
  FilterGrammar grammar_;
  std::unique_ptr<GrammarAutomaton> automaton_;
  GrammarAutomaton::State state_;
  bool bound_;
  std::string written_;  // in the grammar
  std::string seen_;     // the latest text outside it
  std::vector<std::int32_t> markers_;
  std::unordered_map<GrammarAutomaton::State, std::vector<std::uint8_t>> masks_;
};

}  // namespace

VocabularyTrie::VocabularyTrie(const Model& model) {
  const Tokenizer& tokenizer = ModelAccess::impl(model).need_tokenizer();
  const auto size = static_cast<std::size_t>(model.info().vocabulary);
  const auto known = static_cast<std::size_t>(tokenizer.vocabulary());
  bytes_.resize(size);
  control_.resize(size);
  std::vector<std::int32_t> order;
  for (std::size_t i = 0; i < std::min(size, known); ++i) {
    const auto id = static_cast<std::int32_t>(i);
    if (model.ends_generation(id)) {
      ends_.push_back(id);
      continue;
    }
    bytes_[i] = tokenizer.piece(id, false);
    if (bytes_[i].empty()) {
      control_[i] = tokenizer.piece(id, true);
    } else {
      order.push_back(id);
    }
  }
  std::sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
    const std::string& x = bytes_[static_cast<std::size_t>(a)];
    const std::string& y = bytes_[static_cast<std::size_t>(b)];
    return x != y ? x < y : a < b;
  });
  tokens_ = order;
  // Breadth first, so that children are neighbours: each node stands for a range of the sorted tokens.
  struct Range {
    std::uint32_t node, begin, end;
    std::size_t depth;
  };
  nodes_.emplace_back();
  std::vector<Range> open = {{0, 0, static_cast<std::uint32_t>(order.size()), 0}};
  for (std::size_t i = 0; i < open.size(); ++i) {
    const Range range = open[i];
    std::uint32_t at = range.begin;
    const auto bytes = [&](std::uint32_t t) -> const std::string& {
      return bytes_[static_cast<std::size_t>(order[t])];
    };
    while (at < range.end && bytes(at).size() == range.depth) ++at;
    Node& node = nodes_[range.node];
    node.first_token = range.begin;
    node.tokens = at - range.begin;
    node.first_child = static_cast<std::uint32_t>(nodes_.size());
    std::uint32_t children = 0;
    while (at < range.end) {
      std::uint32_t end = at;
      const char byte = bytes(at)[range.depth];
      while (end < range.end && bytes(end)[range.depth] == byte) ++end;
      open.push_back({static_cast<std::uint32_t>(nodes_.size()), at, end, range.depth + 1});
      nodes_.push_back({.byte = static_cast<unsigned char>(byte)});
      ++children;
      at = end;
    }
    nodes_[range.node].children = children;
  }
}

std::unique_ptr<TokenFilter> grammar_filter(std::shared_ptr<const VocabularyTrie> trie,
                                            const FilterGrammar& grammar) {
  return std::make_unique<GrammarFilter>(std::move(trie), grammar);
}

}  // namespace thinkey::server
