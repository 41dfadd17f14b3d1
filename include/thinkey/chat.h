// Conversations, and how a model's chat template makes text of them.
//
// A model's template is Jinja text and is executed as written, with what transformers gives it: messages,
// tools, documents, add_generation_prompt, the special tokens (bos_token, eos_token, ...) and further
// variables. Nothing is approximated: what a template cannot render is an error with the template's own
// message.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace thinkey {

// A message by its usual fields; an empty one is left out, but for content. Anything else can be said in
// JSON: Model::render_chat_json().
struct ChatMessage {
  std::string role;  // "system", "user", "assistant", "tool", or whatever the template knows
  std::string content;
  std::string name = {};
  std::string tool_call_id = {};
  std::string tool_calls = {};  // a JSON list
  std::string reasoning = {};   // the template's reasoning_content and thinking
};

struct ChatOptions {
  bool add_generation_prompt = true;  // end with the header that lets the assistant speak
  std::string tools = {};             // a JSON list; empty: none
  std::string documents = {};         // a JSON list; empty: none
  std::string variables = {};  // a JSON object of further variables, such as {"enable_thinking": false}
  // One of the model's named templates or of chat_template_names(); empty: the model's own, which is
  // "tool_use" if there is one and tools are given, else "default".
  std::string template_name = {};
  std::string template_source = {};      // Jinja text to be used instead of all of these
  std::optional<std::int64_t> now = {};  // seconds since 1970 for strftime_now; nullopt: the clock's
};

// Templates that come with thinkey: "chatml", "llama-3", ...
[[nodiscard]] std::vector<std::string_view> chat_template_names();

// What a template makes of a conversation, without a model: bos_token and the like are undefined unless
// options.variables sets them. `conversation` as in Model::render_chat_json().
[[nodiscard]] std::string render_chat_template(std::string_view conversation, const ChatOptions& options);
[[nodiscard]] std::string render_chat_template(std::span<const ChatMessage> messages,
                                               const ChatOptions& options);

}  // namespace thinkey
