// A set of strings as a prefix tree that answers: which of them does this text begin with?
// Built in time and space linear in the strings' bytes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace thinkey {

class PieceTree {
 public:
  PieceTree() = default;
  // Pairs of a string, not empty, and its id; the lowest id of equal strings stays.
  explicit PieceTree(std::vector<std::pair<std::string_view, std::int32_t>> pieces);

  [[nodiscard]] bool empty() const noexcept { return nodes_.size() <= 1; }
  [[nodiscard]] bool may_begin(char byte) const noexcept {
    return roots_[static_cast<unsigned char>(byte)] >= 0;
  }

  // Calls visit(bytes, id) for every string that `text` begins with, shortest first.
  template <typename Visit>
  void for_each_prefix(std::string_view text, const Visit& visit) const {
    std::int32_t node = 0;
    for (std::size_t i = 0; i < text.size(); ++i) {
      node = child(node, text[i]);
      if (node < 0) return;
      if (const std::int32_t id = nodes_[static_cast<std::size_t>(node)].id; id >= 0) visit(i + 1, id);
    }
  }

 private:
  struct Node {
    std::int32_t id = -1;                        // of the string that ends here
    std::int32_t first_child = 0, children = 0;  // neighbours, by ascending byte
  };
  [[nodiscard]] std::int32_t child(std::int32_t node, char byte) const noexcept;

  std::vector<Node> nodes_;
  std::vector<unsigned char> bytes_;  // the byte that leads to a node
  std::array<std::int32_t, 256> roots_ = [] {
    std::array<std::int32_t, 256> none{};
    none.fill(-1);
    return none;
  }();
};

}  // namespace thinkey
