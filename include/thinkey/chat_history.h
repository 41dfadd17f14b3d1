// What a session has seen of a conversation. Before every turn the whole conversation is rendered anew; where
// the text goes on from what the session holds, only the rest has to be prefilled.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "thinkey/generate.h"
#include "thinkey/model.h"

namespace thinkey {

class ChatHistory {
 public:
  struct Step {
    std::vector<std::int32_t> tokens;  // to prefill
    // The template wrote earlier turns differently from what the session holds (Qwen3 drops old thinking,
    // others trim answers): the session must start anew, and `tokens` are the whole conversation.
    bool restart = false;
  };

  // What a session with this history has still to see of `prompt`, a rendered conversation. Tokens are
  // compared, and where they differ (a model may write a word in other pieces than its tokenizer) the text;
  // then a control
  // token must stand on one side of the seam, so that no piece spans it.
  [[nodiscard]] Step next(const Model& model, std::string_view prompt) const;

  // The session has seen `prompt` whole and answered it.
  void add(const Model& model, std::string_view prompt, std::span<const std::int32_t> prefilled,
           const Generation& answer);
  void clear();

  [[nodiscard]] std::span<const std::int32_t> tokens() const noexcept { return tokens_; }

 private:
  std::vector<std::int32_t> tokens_;
  std::string text_;
};

// The text by which a conversation goes on from a saved cache that ends with an assistant's whole answer:
// what the template writes between such an answer and the next one when a user says `message`. The earlier
// turns are not known, so a template whose text depends on them, as on their number, cannot be followed in
// that. Throws Error(Data) when the template does not write answers as they are.
[[nodiscard]] std::string render_next_turn(const Model& model, std::string_view message,
                                           const ChatOptions& options = {});

}  // namespace thinkey
