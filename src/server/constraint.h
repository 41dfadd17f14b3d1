// What an answer is bound to: JSON, a JSON schema, or a call of a tool.
#pragma once

#include <functional>
#include <memory>

#include "engine/scheduler/request.h"
#include "server/chat_prompt.h"

namespace thinkey::server {

// From "response_format" (null: none) and the prompt's tool choice; empty where anything may be said.
// ApiError for what cannot be bound, naming it.
[[nodiscard]] std::function<std::unique_ptr<TokenFilter>()> chat_constraint(
    const OrderedJson* response_format, const ChatPrompt& prompt, Service& service);

}  // namespace thinkey::server
