#include "server/token_text.h"

#include <utility>

#include "engine/model_impl.h"
#include "tokenizer/utf8.h"

namespace thinkey::server {
namespace {

OrderedJson entry(const Model& model, std::int32_t token, float logprob) {
  const std::string bytes = token_bytes(model, token);
  OrderedJson out;
  out["token"] = token_text(model, token);
  out["logprob"] = logprob;
  out["bytes"] = OrderedJson::array();
  for (const char c : bytes) out["bytes"].push_back(static_cast<unsigned char>(c));
  return out;
}

OrderedJson empty_lists() {
  return {{"tokens", OrderedJson::array()},
          {"token_logprobs", OrderedJson::array()},
          {"top_logprobs", OrderedJson::array()},
          {"text_offset", OrderedJson::array()}};
}

}  // namespace

std::string token_bytes(const Model& model, std::int32_t token) {
  return ModelAccess::impl(model).need_tokenizer().piece(token, true);
}

std::string token_text(const Model& model, std::int32_t token) {
  std::string bytes = token_bytes(model, token);
  std::string text;
  drain_utf8(bytes, text);
  if (!bytes.empty()) text += kReplacementCharacter;
  return text;
}

std::size_t characters(std::string_view text) noexcept {
  std::size_t n = 0;
  for (const char c : text) n += (static_cast<unsigned char>(c) & 0xC0U) != 0x80U ? 1 : 0;
  return n;
}

OrderedJson chat_logprob(const Model& model, const TokenLogprobs& logprobs) {
  OrderedJson out = entry(model, logprobs.token, logprobs.logprob);
  out["top_logprobs"] = OrderedJson::array();
  for (const auto& [token, logprob] : logprobs.top)
    out["top_logprobs"].push_back(entry(model, token, logprob));
  return out;
}

CompletionLogprobs::CompletionLogprobs(const Model& model, int top)
    : model_(model), top_(top), json_(empty_lists()) {}

void CompletionLogprobs::add(std::int32_t token, const TokenLogprobs* logprobs) {
  const std::string text = token_text(model_, token);
  json_["tokens"].push_back(text);
  json_["token_logprobs"].push_back(logprobs == nullptr ? OrderedJson() : OrderedJson(logprobs->logprob));
  OrderedJson top;
  if (logprobs != nullptr && top_ > 0) {
    top = OrderedJson::object();
    // Tokens of one text: the likeliest speaks for it.
    for (const auto& [id, logprob] : logprobs->top) {
      std::string name = token_text(model_, id);
      if (!top.contains(name)) top[name] = logprob;
    }
    if (!top.contains(text)) top[text] = logprobs->logprob;
  }
  json_["top_logprobs"].push_back(std::move(top));
  json_["text_offset"].push_back(offset_);
  offset_ += characters(text);
}

OrderedJson CompletionLogprobs::take() { return std::exchange(json_, empty_lists()); }

}  // namespace thinkey::server
