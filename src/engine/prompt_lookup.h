// Drafts by prompt lookup (Saxena 2023): answers quote what they are about, so where the latest tokens have
// stood before, the tokens that followed them there may follow again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

namespace thinkey {

class PromptLookup {
 public:
  void add(std::int32_t token);
  void add(std::span<const std::int32_t> tokens) {
    for (const std::int32_t token : tokens) add(token);
  }

  // At most `most` tokens that may follow: those behind the earlier place where the most of the latest tokens
  // stand, two at least; of equals the latest place. None without such a place, and as many as earlier drafts
  // make worth their while: a token is drafted when it is likely enough to be accepted, the more so the more
  // rows a step has without it, since the weights that it reads are then shared anyway.
  [[nodiscard]] std::vector<std::int32_t> draft(std::size_t most, std::size_t rows = 1);
  // Of the latest draft, the first so many were right.
  void learn(std::size_t drafted, std::size_t accepted);

 private:
  // What became of drafts behind places with a short or with a long match; older ones count less.
  struct Record {
    double right = 3.0, wrong = 1.0;
    [[nodiscard]] double chance() const noexcept { return right / (right + wrong); }
  };

  std::vector<std::int32_t> tokens_;
  std::unordered_map<std::uint64_t, std::size_t> pairs_;  // where a pair of tokens last ended
  std::vector<std::size_t> before_;                       // where the pair that ends here ended before
  Record short_, long_;
  Record* record_ = &short_;  // of the latest draft
};

}  // namespace thinkey
