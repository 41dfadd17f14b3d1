// Greedy pair merging: a text lies as a linked list of symbols, and the cheapest mergeable pair of
// neighbours is merged, the leftmost of equals, until none is left. Both tokenizer families do this
// and differ only in what a pair costs. n log n in the number of symbols.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <queue>
#include <tuple>
#include <vector>

namespace thinkey {

struct Symbol {
  std::size_t start = 0;  // bytes of the text this symbol covers
  std::size_t bytes = 0;  // 0: merged into its left neighbour
  std::int32_t id = -1;   // vocabulary entry, -1 when there is none
  std::int64_t previous = -1, next = -1;
};

struct Merge {
  double cost = 0;  // merge rank or negated score
  std::int32_t id = -1;
};

// Links symbols[] in order, then merges. `lookup(left, right)` gives the Merge of two neighbours or
// nothing. Afterwards the symbols left are those with bytes > 0, in order.
template <typename Lookup>
void merge_symbols(std::vector<Symbol>& symbols, const Lookup& lookup) {
  struct Candidate {
    double cost;
    std::int64_t left, right;
    std::size_t bytes;  // of both; differs from the symbols' once either has been merged
    std::int32_t id;
    bool operator>(const Candidate& other) const {
      return std::tie(cost, left) > std::tie(other.cost, other.left);
    }
  };
  const auto at = [&symbols](std::int64_t i) -> Symbol& { return symbols[static_cast<std::size_t>(i)]; };
  std::vector<Candidate> candidates;
  const auto add_pair_to = [&](std::int64_t left, std::int64_t right, auto&& add) {
    if (left < 0 || right < 0) return;
    if (const std::optional<Merge> merge = lookup(at(left), at(right))) {
      add(Candidate{merge->cost, left, right, at(left).bytes + at(right).bytes, merge->id});
    }
  };

  const auto count = static_cast<std::int64_t>(symbols.size());
  for (std::int64_t i = 0; i < count; ++i) {
    at(i).previous = i - 1;
    at(i).next = i + 1 < count ? i + 1 : -1;
    add_pair_to(i, at(i).next, [&candidates](const Candidate& pair) { candidates.push_back(pair); });
  }
  // Built from the whole vector at once: linear instead of n log n.
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue(std::greater<>{},
                                                                               std::move(candidates));
  while (!queue.empty()) {
    const Candidate pair = queue.top();
    queue.pop();
    Symbol& left = at(pair.left);
    Symbol& right = at(pair.right);
    if (left.bytes == 0 || right.bytes == 0 || left.bytes + right.bytes != pair.bytes) continue;
    left.bytes = pair.bytes;
    left.id = pair.id;
    left.next = right.next;
    right.bytes = 0;
    if (right.next >= 0) at(right.next).previous = pair.left;
    const auto push = [&queue](const Candidate& fresh) { queue.push(fresh); };
    add_pair_to(left.previous, pair.left, push);
    add_pair_to(pair.left, left.next, push);
  }
}

}  // namespace thinkey
