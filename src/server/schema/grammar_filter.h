// A grammar as a filter of tokens.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/scheduler/request.h"
#include "server/schema/grammar.h"
#include "thinkey/model.h"

namespace thinkey::server {

// The vocabulary's tokens by their bytes, so that what begins alike is looked at once. Control tokens are
// left out.
class VocabularyTrie {
 public:
  explicit VocabularyTrie(const Model& model);

  struct Node {
    std::uint32_t first_child = 0, children = 0;  // neighbours, by byte
    std::uint32_t first_token = 0, tokens = 0;    // that end here
    unsigned char byte = 0;
  };
  [[nodiscard]] const std::vector<Node>& nodes() const noexcept { return nodes_; }  // the root first
  [[nodiscard]] const std::vector<std::int32_t>& tokens() const noexcept { return tokens_; }
  [[nodiscard]] const std::string& bytes(std::int32_t token) const {
    return bytes_[static_cast<std::size_t>(token)];
  }
  // Every control token's bytes; "" for others.
  [[nodiscard]] const std::string& control(std::int32_t token) const {
    return control_[static_cast<std::size_t>(token)];
  }
  [[nodiscard]] const std::vector<std::int32_t>& ends() const noexcept { return ends_; }
  [[nodiscard]] std::size_t vocabulary() const noexcept { return bytes_.size(); }

 private:
  std::vector<Node> nodes_;
  std::vector<std::int32_t> tokens_;
  std::vector<std::string> bytes_, control_;
  std::vector<std::int32_t> ends_;  // tokens that end an answer
};

struct FilterGrammar {
  Grammar grammar;
  Grammar::Rule start = 0;
  std::vector<std::string> markers;  // control tokens that may be used, by their text
  // Not empty: anything may be said until this text has been written; the grammar holds for what follows, and
  // then again anything.
  std::string trigger;
};

[[nodiscard]] std::unique_ptr<TokenFilter> grammar_filter(std::shared_ptr<const VocabularyTrie> trie,
                                                          const FilterGrammar& grammar);

}  // namespace thinkey::server
