#include "server/tool_calls/message_parser.h"

#include <random>
#include <utility>

#include "server/tool_calls/call_scanner.h"

namespace thinkey::server {
namespace {

class Plain : public MessageParser {
 public:
  MessageDelta push(std::string_view text) override {
    return {.content = std::string(text), .reasoning = {}, .tool_calls = {}};
  }
};

}  // namespace

ToolForm tool_form(std::string_view source) {
  const auto has = [&](std::string_view word) { return source.find(word) != std::string_view::npos; };
  if (has("<|channel|>") && has("<|message|>")) return ToolForm::Harmony;
  if (has("[TOOL_CALLS]")) return has("[ARGS]") ? ToolForm::MistralArgs : ToolForm::Mistral;
  if (has("<tool_call>")) return ToolForm::Hermes;
  if (has("<|python_tag|>") || (has("\"parameters\"") && has("tools"))) return ToolForm::Llama3;
  return ToolForm::None;
}

bool needs_control_tokens(ToolForm form) noexcept {
  // In some vocabularies Hermes' tags are control tokens, in others plain text.
  return form != ToolForm::None;
}

std::unique_ptr<MessageParser> plain_parser() { return std::make_unique<Plain>(); }

std::unique_ptr<MessageParser> message_parser(ToolForm form, std::vector<std::string> tools) {
  if (form == ToolForm::Harmony) return harmony_parser();
  if (tools.empty()) return plain_parser();
  switch (form) {
    case ToolForm::Hermes:
      return hermes_parser();
    case ToolForm::Llama3:
      return llama3_parser(std::move(tools));
    case ToolForm::Mistral:
    case ToolForm::MistralArgs:
      return mistral_parser();
    default:
      return plain_parser();
  }
}

void add_call_delta(CallScanner& call, int index, bool mistral, bool& named, MessageDelta& out) {
  if (call.name().empty()) return;
  const bool first = !std::exchange(named, true);
  std::string arguments = call.take_arguments();
  if (!first && arguments.empty()) return;
  out.tool_calls.push_back({.index = index,
                            .id = first ? new_call_id(mistral) : std::string(),
                            .name = first ? call.name() : std::string(),
                            .arguments = std::move(arguments)});
}

std::string new_call_id(bool mistral) {
  constexpr std::string_view kLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
  thread_local std::mt19937_64 random{std::random_device{}()};
  std::string id = mistral ? "" : "call_";
  for (int i = 0; i < (mistral ? 9 : 24); ++i) id += kLetters[random() % kLetters.size()];
  return id;
}

}  // namespace thinkey::server
