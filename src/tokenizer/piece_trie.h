// A set of strings that answers: which is the longest one this text begins with?
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

namespace thinkey {

class PieceTrie {
 public:
  struct Match {
    std::size_t start = 0;
    std::size_t bytes = 0;
    std::int32_t id = -1;
  };

  // `piece` must not be empty; the first id given for a piece stays.
  void insert(std::string_view piece, std::int32_t id);

  // The leftmost match at or after `from`, the longest of those starting there.
  [[nodiscard]] std::optional<Match> find(std::string_view text, std::size_t from) const;

 private:
  struct Node {
    std::vector<std::pair<char, std::int32_t>> children;  // byte, node
    std::int32_t id = -1;                                 // of the piece that ends here
  };
  [[nodiscard]] std::int32_t child(std::int32_t node, char byte) const;

  std::vector<Node> nodes_{Node{}};
};

}  // namespace thinkey
