// Keys and values of one head as rows of f32, wherever they come from: what statistics of tokens read.
#pragma once

#include <cstddef>
#include <vector>

#include "backend/layer_store.h"

namespace thinkey {

class HeadRows {
 public:
  HeadRows(std::size_t tokens, std::size_t dim, TokenRows keys, TokenRows values)
      : tokens_(tokens), dim_(dim), keys_(keys), values_(values) {}
  HeadRows(HeldTokens held, std::size_t dim)
      : tokens_(held.positions.size()), dim_(dim), held_(std::move(held)) {
    keys_ = held_.keys.data();
    values_ = held_.values.data();
  }
  HeadRows(HeadRows&&) noexcept = default;  // what the views show moves with its memory

  [[nodiscard]] std::size_t tokens() const noexcept { return tokens_; }
  // Rows [first, first + n) of [n, D]; `scratch` is made as large as it must be.
  [[nodiscard]] const float* keys(std::size_t first, std::size_t n, std::vector<float>& scratch) const {
    return load(keys_, first, n, scratch);
  }
  [[nodiscard]] const float* values(std::size_t first, std::size_t n, std::vector<float>& scratch) const {
    return load(values_, first, n, scratch);
  }

 private:
  [[nodiscard]] const float* load(TokenRows rows, std::size_t first, std::size_t n,
                                  std::vector<float>& scratch) const {
    if (scratch.size() < n * dim_) scratch.resize(n * dim_);
    return (rows + first * dim_).load(n * dim_, scratch.data());
  }

  std::size_t tokens_, dim_;
  HeldTokens held_;
  TokenRows keys_, values_;
};

}  // namespace thinkey
