#include <fmt/ranges.h>

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>

#include "base/fail.h"
#include "tokenizer/chat_template.h"

namespace thinkey {

namespace {

class TemplateText {
 public:
  explicit TemplateText(std::string_view text) : text_(text) {}
  [[nodiscard]] bool has(std::string_view part) const { return text_.find(part) != std::string_view::npos; }
  template <typename... Parts>
  [[nodiscard]] bool has_any(Parts... parts) const {
    return (has(parts) || ...);
  }

 private:
  std::string_view text_;
};

ChatFormat recognise_mistral(const TemplateText& text) {
  if (text.has_any("' [INST] '", "\" [INST] \"")) return ChatFormat::MistralSpaced;
  if (!text.has_any("[INST] '", "[INST] \"")) return ChatFormat::MistralCompact;
  if (!text.has(" [/INST]")) return ChatFormat::MistralV03;
  if (text.has_any("eos_token + ' '", "eos_token + \" \"", "eos_token+' '", "eos_token+\" \"")) {
    return ChatFormat::MistralV01;
  }
  return ChatFormat::Mistral;
}

std::optional<ChatFormat> recognise_template(std::string_view source) {
  const TemplateText text(source);
  if (text.has("<|im_start|>") && text.has("<|im_end|>")) return ChatFormat::ChatML;
  if (text.has("<|start_header_id|>") && text.has("<|eot_id|>")) return ChatFormat::Llama3;
  if (text.has("[INST]") && text.has("[/INST]")) {
    if (text.has("<<SYS>>")) return ChatFormat::Llama2;
    // Mistral's later templates give the system its own turn: a form that is not rendered here.
    if (text.has("[SYSTEM_PROMPT]")) return std::nullopt;
    return recognise_mistral(text);
  }
  // Phi-3 has the same headers but ends its turns with <|end|>.
  const bool ends_with_eos = text.has_any("eos_token", "</s>") && !text.has("<|end|>");
  if (text.has("<|user|>") && text.has("<|assistant|>") && ends_with_eos) return ChatFormat::Zephyr;
  return std::nullopt;
}

std::optional<ChatFormat> recognise_vocabulary(const TokenizerData& data) {
  const auto has = [&data](std::string_view token) {
    return std::ranges::find(data.tokens, token) != data.tokens.end();
  };
  if (has("<|im_start|>") && has("<|im_end|>")) return ChatFormat::ChatML;
  if (has("<|start_header_id|>") && has("<|eot_id|>")) return ChatFormat::Llama3;
  if (has("[INST]") && has("[/INST]")) {
    return data.byte_fallback ? ChatFormat::MistralV03 : ChatFormat::MistralCompact;
  }
  if (has("<|user|>") && has("<|assistant|>") && has("</s>")) return ChatFormat::Zephyr;
  return std::nullopt;
}

// Undoes the escapes of a Jinja string literal that a system message may hold.
std::string unescape(std::string_view literal) {
  std::string text;
  for (std::size_t i = 0; i < literal.size(); ++i) {
    if (literal[i] != '\\' || i + 1 == literal.size()) {
      text += literal[i];
      continue;
    }
    ++i;
    text += literal[i] == 'n' ? '\n' : literal[i] == 't' ? '\t' : literal[i];
  }
  return text;
}

}  // namespace

ChatFormat recognise_chat_format(const TokenizerData& data) {
  const auto format =
      data.chat_template.empty() ? recognise_vocabulary(data) : recognise_template(data.chat_template);
  if (format) return *format;
  fail_data(
      "chat: the model's file {}; name the format (known: Llama 2, Llama 3, Mistral, ChatML, Zephyr) or "
      "give a plain prompt",
      data.chat_template.empty() ? "has no chat template and no chat tokens"
                                 : "has a chat template of no known form");
}

std::optional<std::string> default_system_message(const TokenizerData& data) {
  // Written as one literal: '<|im_start|>system\n...<|im_end|>\n'.
  constexpr std::string_view kOpen = "<|im_start|>system\\n";
  constexpr std::string_view kClose = "<|im_end|>";
  const std::string_view source = data.chat_template;
  for (std::size_t at = source.find(kOpen); at != std::string_view::npos; at = source.find(kOpen, at + 1)) {
    if (at == 0) continue;
    const char quote = source[at - 1];
    if (quote != '\'' && quote != '"') continue;
    const std::size_t begin = at + kOpen.size();
    const std::size_t end = source.find(kClose, begin);
    if (end == std::string_view::npos) break;
    const std::string_view literal = source.substr(begin, end - begin);
    // A quote before the end: the literal stops there and an expression follows.
    const bool closed_before = [&] {
      for (std::size_t i = 0; i < literal.size(); ++i) {
        if (literal[i] == '\\') {
          ++i;
        } else if (literal[i] == quote) {
          return true;
        }
      }
      return false;
    }();
    if (!closed_before && !literal.empty()) return unescape(literal);
  }
  return std::nullopt;
}

}  // namespace thinkey
