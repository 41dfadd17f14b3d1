#include "thinkey/chat_history.h"

#include <algorithm>

#include "base/fail.h"
#include "engine/model_impl.h"

namespace thinkey {

ChatHistory::Step ChatHistory::next(const Model& model, std::string_view prompt) const {
  Step step{model.tokenize_chat(prompt), false};
  if (tokens_.empty()) return step;
  const bool continues =
      step.tokens.size() > tokens_.size() && std::equal(tokens_.begin(), tokens_.end(), step.tokens.begin());
  if (continues) {
    step.tokens.erase(step.tokens.begin(), step.tokens.begin() + static_cast<std::ptrdiff_t>(tokens_.size()));
    return step;
  }
  if (prompt.size() > text_.size() && prompt.starts_with(text_)) {
    std::vector<std::int32_t> rest =
        model.tokenize(prompt.substr(text_.size()), {.add_special = false, .parse_special = true});
    const Tokenizer& tokenizer = ModelAccess::impl(model).need_tokenizer();
    const bool clean =
        !rest.empty() && (tokenizer.stands_alone(tokens_.back()) || tokenizer.stands_alone(rest.front()));
    if (clean) return {std::move(rest), false};
  }
  step.restart = true;
  return step;
}

void ChatHistory::add(const Model& model, std::string_view prompt, std::span<const std::int32_t> prefilled,
                      const Generation& answer) {
  tokens_.insert(tokens_.end(), prefilled.begin(), prefilled.end());
  tokens_.insert(tokens_.end(), answer.tokens.begin(), answer.tokens.end());
  text_ = prompt;
  text_ += answer.text;
  if (answer.ended) {
    tokens_.push_back(answer.end_token);
    text_ += ModelAccess::impl(model).need_tokenizer().piece(answer.end_token, true);
  }
}

void ChatHistory::clear() {
  tokens_.clear();
  text_.clear();
}

std::string render_next_turn(const Model& model, std::string_view message, const ChatOptions& options) {
  static constexpr std::string_view kAnswer = "THINKEY-ANSWER-MARK";
  if (message.find(kAnswer) != std::string_view::npos) fail_usage("the message holds \"{}\"", kAnswer);
  const std::vector<ChatMessage> turns = {
      {"user", "..."}, {"assistant", std::string(kAnswer)}, {"user", std::string(message)}};
  const std::string text = model.render_chat(turns, options);
  const std::size_t at = text.rfind(kAnswer);
  if (at == std::string::npos) {
    fail_data(
        "chat: the template does not write earlier answers as they are, so that a saved cache cannot be "
        "continued "
        "with --chat; leave out --load-cache or --chat");
  }
  std::string_view rest = std::string_view(text).substr(at + kAnswer.size());
  // The saved cache holds the token that ended the answer.
  const Tokenizer& tokenizer = ModelAccess::impl(model).need_tokenizer();
  std::size_t end = std::string_view::npos;
  std::size_t end_size = 0;
  for (const std::int32_t id : tokenizer.data().end_of_generation) {
    const std::string piece = tokenizer.piece(id, true);
    const std::size_t found = piece.empty() ? std::string_view::npos : rest.find(piece);
    if (found < end) {
      end = found;
      end_size = piece.size();
    }
  }
  if (end != std::string_view::npos && end < rest.find(message)) rest.remove_prefix(end + end_size);
  return std::string(rest);
}

}  // namespace thinkey
