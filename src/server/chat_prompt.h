// The messages and tools of a request as the model's template writes them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "server/request_fields.h"
#include "server/service.h"
#include "server/tool_calls/message_parser.h"

namespace thinkey::server {

struct Tool {
  std::string name;
  OrderedJson parameters;  // a JSON schema; null: none given
  bool strict = false;     // calls must satisfy it
};

struct ChatPrompt {
  std::string text;
  std::vector<std::int32_t> tokens;
  ToolForm form = ToolForm::None;
  std::vector<Tool> tools;  // that may be called
  std::string forced_tool;  // the one that must be; empty: none in particular
  bool must_call = false;   // some tool must be
  bool parallel = true;     // several may be
};

// Reads messages, tools, tool_choice, parallel_tool_calls, chat_template_kwargs, add_generation_prompt.
// ApiError for what is wrong or what the template cannot write.
[[nodiscard]] ChatPrompt read_chat_prompt(RequestFields& fields, const Service& service);

// The same from messages and tools in the API's form, which may be changed: {"role", "content", ...}.
[[nodiscard]] ChatPrompt render_chat(OrderedJson messages, OrderedJson tools, const OrderedJson* tool_choice,
                                     bool parallel, const OrderedJson* variables, bool generation_prompt,
                                     const Service& service);

}  // namespace thinkey::server
