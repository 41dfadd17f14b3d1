// What a model writes, taken apart into what the API calls content, reasoning and tool calls; as it comes.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace thinkey::server {

class CallScanner;

struct ToolCallDelta {
  int index = 0;
  std::string id, name;   // with the call's first delta only
  std::string arguments;  // the next piece of the JSON text
};

struct MessageDelta {
  std::string content, reasoning;
  std::vector<ToolCallDelta> tool_calls;
  [[nodiscard]] bool empty() const noexcept {
    return content.empty() && reasoning.empty() && tool_calls.empty();
  }
};

class MessageParser {
 public:
  virtual ~MessageParser() = default;
  [[nodiscard]] virtual MessageDelta push(std::string_view text) = 0;
  // The text has ended.
  [[nodiscard]] virtual MessageDelta finish() { return {}; }
};

// How a model writes tool calls.
enum class ToolForm {
  None,         // its template knows no tools
  Hermes,       // <tool_call>{"name": ..., "arguments": {...}}</tool_call> (Hermes, Qwen)
  Llama3,       // {"name": ..., "parameters": {...}} instead of a text, maybe behind <|python_tag|>
  Mistral,      // [TOOL_CALLS][{"name": ..., "arguments": {...}}]
  MistralArgs,  // [TOOL_CALLS]name[ARGS]{...}, of newer ones
  Harmony,      // <|channel|>commentary to=functions.name <|message|>{...}<|call|> (gpt-oss)
};

// By what the template writes itself.
[[nodiscard]] ToolForm tool_form(std::string_view template_source);
// Whether control tokens must be part of the text that the parser sees.
[[nodiscard]] bool needs_control_tokens(ToolForm form) noexcept;

// Content and nothing else.
[[nodiscard]] std::unique_ptr<MessageParser> plain_parser();
// `tools`: the names of the tools that were offered; with none, text is content, but for Harmony's channels.
[[nodiscard]] std::unique_ptr<MessageParser> message_parser(ToolForm form, std::vector<std::string> tools);

// In one file each.
[[nodiscard]] std::unique_ptr<MessageParser> hermes_parser();
[[nodiscard]] std::unique_ptr<MessageParser> llama3_parser(std::vector<std::string> tools);
[[nodiscard]] std::unique_ptr<MessageParser> mistral_parser();
[[nodiscard]] std::unique_ptr<MessageParser> harmony_parser();

// Adds what came of call `index` since the last time, once its name is known; `named` says whether it was
// before.
void add_call_delta(CallScanner& call, int index, bool mistral, bool& named, MessageDelta& out);

// "call_..." with random letters; Mistral's templates ask for nine letters and digits.
[[nodiscard]] std::string new_call_id(bool mistral = false);

}  // namespace thinkey::server
