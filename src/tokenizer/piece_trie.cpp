#include "tokenizer/piece_trie.h"

#include <algorithm>

namespace thinkey {

std::int32_t PieceTrie::child(std::int32_t node, char byte) const {
  const auto& children = nodes_[static_cast<std::size_t>(node)].children;
  const auto found = std::ranges::find(children, byte, &std::pair<char, std::int32_t>::first);
  return found == children.end() ? -1 : found->second;
}

void PieceTrie::insert(std::string_view piece, std::int32_t id) {
  std::int32_t node = 0;
  for (const char byte : piece) {
    std::int32_t next = child(node, byte);
    if (next < 0) {
      next = static_cast<std::int32_t>(nodes_.size());
      nodes_[static_cast<std::size_t>(node)].children.emplace_back(byte, next);
      nodes_.emplace_back();
    }
    node = next;
  }
  std::int32_t& slot = nodes_[static_cast<std::size_t>(node)].id;
  if (slot < 0) slot = id;
}

std::optional<PieceTrie::Match> PieceTrie::find(std::string_view text, std::size_t from) const {
  if (nodes_.size() == 1) return std::nullopt;
  for (std::size_t start = from; start < text.size(); ++start) {
    Match best;
    std::int32_t node = 0;
    for (std::size_t i = start; i < text.size(); ++i) {
      node = child(node, text[i]);
      if (node < 0) break;
      const std::int32_t id = nodes_[static_cast<std::size_t>(node)].id;
      if (id >= 0) best = {start, i + 1 - start, id};
    }
    if (best.id >= 0) return best;
  }
  return std::nullopt;
}

}  // namespace thinkey
