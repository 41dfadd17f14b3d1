// Tokens in answers: their text and bytes, and log-probabilities in both of the API's forms.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/scheduler/request.h"
#include "server/api_error.h"
#include "thinkey/model.h"

namespace thinkey::server {

// A token's own bytes, control tokens included; may be part of a character.
[[nodiscard]] std::string token_bytes(const Model& model, std::int32_t token);
// As text: what is no character is U+FFFD.
[[nodiscard]] std::string token_text(const Model& model, std::int32_t token);
[[nodiscard]] std::size_t characters(std::string_view text) noexcept;

// Of chat completions: {"token", "logprob", "bytes", "top_logprobs"}.
[[nodiscard]] OrderedJson chat_logprob(const Model& model, const TokenLogprobs& logprobs);

// Of completions: {"tokens", "token_logprobs", "top_logprobs", "text_offset"}.
class CompletionLogprobs {
 public:
  CompletionLogprobs(const Model& model, int top);
  void add(std::int32_t token, const TokenLogprobs* logprobs);
  [[nodiscard]] OrderedJson take();

 private:
  const Model& model_;
  int top_;
  OrderedJson json_;
  std::size_t offset_ = 0;
};

}  // namespace thinkey::server
