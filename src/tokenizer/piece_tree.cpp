#include "tokenizer/piece_tree.h"

#include <algorithm>

namespace thinkey {

PieceTree::PieceTree(std::vector<std::pair<std::string_view, std::int32_t>> pieces) {
  std::sort(pieces.begin(), pieces.end());
  nodes_.emplace_back();
  bytes_.push_back(0);
  struct Range {
    std::size_t node, begin, end, depth;  // pieces[begin, end) begin with the node's `depth` bytes
  };
  std::vector<Range> queue{{0, 0, pieces.size(), 0}};
  for (std::size_t at = 0; at < queue.size(); ++at) {
    auto [node, begin, end, depth] = queue[at];
    for (; begin < end && pieces[begin].first.size() == depth; ++begin) {
      if (nodes_[node].id < 0) nodes_[node].id = pieces[begin].second;
    }
    nodes_[node].first_child = static_cast<std::int32_t>(nodes_.size());
    while (begin < end) {
      const char byte = pieces[begin].first[depth];
      std::size_t stop = begin + 1;
      while (stop < end && pieces[stop].first[depth] == byte) ++stop;
      queue.push_back({nodes_.size(), begin, stop, depth + 1});
      if (depth == 0) roots_[static_cast<unsigned char>(byte)] = static_cast<std::int32_t>(nodes_.size());
      nodes_.emplace_back();
      bytes_.push_back(static_cast<unsigned char>(byte));
      ++nodes_[node].children;
      begin = stop;
    }
  }
}

std::int32_t PieceTree::child(std::int32_t node, char byte) const noexcept {
  const auto wanted = static_cast<unsigned char>(byte);
  if (node == 0) return roots_[wanted];
  const Node& parent = nodes_[static_cast<std::size_t>(node)];
  const auto begin = bytes_.begin() + parent.first_child;
  const auto end = begin + parent.children;
  const auto found = std::lower_bound(begin, end, wanted);
  return found == end || *found != wanted ? -1 : static_cast<std::int32_t>(found - bytes_.begin());
}

}  // namespace thinkey
