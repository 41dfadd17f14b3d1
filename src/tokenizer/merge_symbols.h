// Greedy pair merging: a word lies as a linked list of symbols, and the cheapest mergeable pair of
// neighbours is merged, the leftmost of equals, until none is left. n log n in the number of symbols.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <tuple>
#include <vector>

namespace thinkey {

struct Symbol {
  std::size_t start = 0;  // bytes of the word this symbol covers
  std::size_t bytes = 0;  // 0: merged into its left neighbour
  std::int32_t id = -1;   // vocabulary entry, -1 when there is none
  std::int64_t previous = -1, next = -1;
};

struct PairMerge {
  double cost = 0;  // merge rank or negated score
  std::int32_t id = -1;
};

// Memory of merge_symbols() that one word after another uses.
struct MergeScratch {
  struct Candidate {
    double cost;
    std::int64_t left, right;
    std::size_t bytes;  // of both; differs from the symbols' once either has been merged
    std::int32_t id;
    bool operator>(const Candidate& other) const {
      return std::tie(cost, left) > std::tie(other.cost, other.left);
    }
  };
  std::vector<Symbol> symbols;
  std::vector<Candidate> queue;
};

// Links scratch.symbols in order, then merges. `lookup(left, right)` gives the PairMerge of two neighbours
// or nothing. Afterwards the symbols left are those with bytes > 0, in order.
template <typename Lookup>
void merge_symbols(MergeScratch& scratch, const Lookup& lookup) {
  using Candidate = MergeScratch::Candidate;
  auto& queue = scratch.queue;
  const auto at = [&scratch](std::int64_t i) -> Symbol& {
    return scratch.symbols[static_cast<std::size_t>(i)];
  };
  const auto add = [&](std::int64_t left, std::int64_t right) {
    if (left < 0 || right < 0) return false;
    const std::optional<PairMerge> merge = lookup(at(left), at(right));
    if (merge) queue.push_back({merge->cost, left, right, at(left).bytes + at(right).bytes, merge->id});
    return merge.has_value();
  };

  queue.clear();
  const auto count = static_cast<std::int64_t>(scratch.symbols.size());
  for (std::int64_t i = 0; i < count; ++i) {
    at(i).previous = i - 1;
    at(i).next = i + 1 < count ? i + 1 : -1;
    add(i, at(i).next);
  }
  std::make_heap(queue.begin(), queue.end(), std::greater<>{});
  const auto push = [&](std::int64_t left, std::int64_t right) {
    if (add(left, right)) std::push_heap(queue.begin(), queue.end(), std::greater<>{});
  };
  while (!queue.empty()) {
    std::pop_heap(queue.begin(), queue.end(), std::greater<>{});
    const Candidate pair = queue.back();
    queue.pop_back();
    Symbol& left = at(pair.left);
    Symbol& right = at(pair.right);
    if (left.bytes == 0 || right.bytes == 0 || left.bytes + right.bytes != pair.bytes) continue;
    left.bytes = pair.bytes;
    left.id = pair.id;
    left.next = right.next;
    right.bytes = 0;
    if (right.next >= 0) at(right.next).previous = pair.left;
    push(left.previous, pair.left);
    push(pair.left, left.next);
  }
}

}  // namespace thinkey
