// What an answer is bound to: JSON, a JSON schema, or a call of a tool.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/scheduler/request.h"
#include "server/chat_prompt.h"

namespace thinkey::server {

// From "response_format" (null: none) and the prompt's tool choice; empty where anything may be said.
// ApiError for what cannot be bound, naming it.
[[nodiscard]] std::function<std::unique_ptr<TokenFilter>()> chat_constraint(
    const OrderedJson* response_format, const ChatPrompt& prompt, Service& service);

// The tools that a message may call, and how the model writes calls.
struct OfferedTools {
  ToolForm form = ToolForm::None;
  std::vector<std::string> names;
};

// Gives a generation its prompt and what follows from that: whether control tokens are text, what stops it,
// and what binds it.
[[nodiscard]] OfferedTools set_prompt(ChatPrompt prompt, const OrderedJson* response_format, Service& service,
                                      GenerationRequest& out);

}  // namespace thinkey::server
