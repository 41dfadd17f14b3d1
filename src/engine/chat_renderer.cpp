#include "engine/chat_renderer.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <optional>
#include <utility>
#include <vector>

#include "base/fail.h"
#include "engine/chat_templates.h"
#include "formats/printable.h"
#include "jinja/repr.h"
#include "jinja/unicode.h"

namespace thinkey {

namespace {

using jinja::Dict;
using jinja::Kind;
using jinja::Value;
using jinja::Values;

Value dict_value(Dict dict) {
  return Value(std::shared_ptr<const Dict>(std::make_shared<Dict>(std::move(dict))));
}

Value parse(std::string_view text, std::string_view what) {
  try {
    return jinja::from_json(text);
  } catch (const jinja::Fault& error) {
    fail_usage("chat: {}: {}", what, error.what());
  }
}

Value parse_list(std::string_view text, std::string_view what) {
  Value value = parse(text, what);
  if (!value.is(Kind::List)) fail_usage("chat: {} must be a JSON list", what);
  return value;
}

// A message as templates expect it, which is what transformers does too: fields that are null are left out,
// and reasoning stands under each of the names that templates read it by.
Value normalized(const Value& message) {
  if (!message.is(Kind::Dict)) fail_usage("chat: a message must be a JSON object");
  const Value* reasoning = nullptr;
  for (const std::string_view name : {"reasoning_content", "thinking", "reasoning"}) {
    const Value* found = message.dict().find(name);
    if (reasoning == nullptr && found != nullptr && !found->is_none()) reasoning = found;
  }
  Dict out;
  if (reasoning != nullptr) out.set("thinking", *reasoning);
  for (const auto& [key, value] : message.dict().entries()) {
    if (!value.is_none()) out.set(key, value);
  }
  if (reasoning != nullptr) out.set("reasoning_content", *reasoning);
  return dict_value(std::move(out));
}

Value message_value(const ChatMessage& message) {
  Dict out;
  out.set("role", Value(message.role));
  out.set("content", Value(message.content));
  if (!message.name.empty()) out.set("name", Value(message.name));
  if (!message.tool_call_id.empty()) out.set("tool_call_id", Value(message.tool_call_id));
  if (!message.tool_calls.empty()) out.set("tool_calls", parse_list(message.tool_calls, "tool_calls"));
  if (!message.reasoning.empty()) out.set("reasoning_content", Value(message.reasoning));
  return dict_value(std::move(out));
}

constexpr std::array<std::string_view, 4> kOwn = {"messages", "tools", "documents", "add_generation_prompt"};

void add_variables(const Value& variables, std::string_view what, Dict& out) {
  if (!variables.is(Kind::Dict)) fail_usage("chat: {} must be a JSON object", what);
  for (const auto& [key, value] : variables.dict().entries()) {
    if (std::find(kOwn.begin(), kOwn.end(), key.string()) != kOwn.end()) {
      fail_usage("chat: {}: \"{}\" is no further variable", what, key.string());
    }
    out.set(key, value);
  }
}

void check_text(const std::string& text, std::string_view what) {
  if (const std::size_t bad = jinja::find_bad_utf8(text); bad != std::string::npos) {
    fail_data("chat: {} is not valid UTF-8 at byte {}", what, bad);
  }
}

// The conversation as an object, whichever way it was given.
Dict as_request(const Value& conversation) {
  Dict request;
  if (conversation.is(Kind::List)) {
    request.set("messages", conversation);
    return request;
  }
  if (!conversation.is(Kind::Dict)) {
    fail_usage("chat: a conversation is a JSON list of messages, or an object with \"messages\"");
  }
  for (const auto& [key, value] : conversation.dict().entries()) {
    const std::string& name = key.string();
    if (name != "chat_template_kwargs" && std::find(kOwn.begin(), kOwn.end(), name) == kOwn.end()) {
      fail_usage("chat: \"{}\" in a conversation is not known ({}, chat_template_kwargs are)",
                 printable(name, 40), fmt::join(kOwn, ", "));
    }
    if (!value.is_none()) request.set(key, value);
  }
  if (request.find("messages") == nullptr) fail_usage("chat: the conversation has no \"messages\"");
  return request;
}

}  // namespace

ChatRenderer::Parsed ChatRenderer::parsed(const std::string& key, std::string_view source,
                                          const std::string& name) const {
  const std::scoped_lock lock(mutex_);
  auto& place = parsed_[key];
  if (!place) place = std::make_shared<const jinja::Template>(source, name);
  return place;
}

ChatRenderer::Parsed ChatRenderer::find_template(const ChatOptions& options, bool has_tools) const {
  if (!options.template_source.empty()) {
    return std::make_shared<const jinja::Template>(options.template_source, "the given template");
  }
  const auto named = [&](std::string_view name) -> const std::string* {
    for (const auto& [known, source] : data_->chat_templates) {
      if (known == name) return &source;
    }
    return name == "default" && !data_->chat_template.empty() ? &data_->chat_template : nullptr;
  };
  const std::string& asked = options.template_name;
  if (!asked.empty()) {
    if (const std::string* own = named(asked))
      return parsed("own " + asked, *own, "the model's template " + asked);
    if (const auto built_in = find_chat_template(asked)) return parsed("built-in " + asked, *built_in, asked);
    std::vector<std::string> names;
    for (const auto& [known, source] : data_->chat_templates) names.push_back(printable(known, 40));
    for (const std::string_view known : chat_template_names()) names.emplace_back(known);
    fail_usage("unknown chat template \"{}\" (known: {})", printable(asked, 40), fmt::join(names, ", "));
  }
  const std::string* own = has_tools ? named("tool_use") : nullptr;
  if (own == nullptr) own = named("default");
  if (own != nullptr)
    return parsed(own == named("default") ? "own default" : "own tool_use", *own, "the model");
  if (!data_->chat_templates.empty()) {
    std::vector<std::string> names;
    for (const auto& [known, source] : data_->chat_templates) names.push_back(printable(known, 40));
    fail_data(
        "chat: the model has several chat templates and none for everything; choose one with "
        "--chat-template: {}",
        fmt::join(names, ", "));
  }
  fail_data(
      "chat: the model has no chat template; name one with --chat-template ({}) or give one with "
      "--chat-template-file",
      fmt::join(chat_template_names(), ", "));
}

std::string ChatRenderer::render(std::span<const ChatMessage> messages, const ChatOptions& options) const {
  Values values;
  for (const ChatMessage& message : messages) {
    check_text(message.role, "a role");
    check_text(message.content, "a message");
    check_text(message.name, "a name");
    check_text(message.tool_call_id, "a tool_call_id");
    check_text(message.reasoning, "reasoning");
    values.push_back(message_value(message));
  }
  Dict request;
  request.set("messages", Value::list(std::move(values)));
  return render(std::move(request), options);
}

std::string ChatRenderer::render_json(std::string_view conversation, const ChatOptions& options) const {
  return render(as_request(parse(conversation, "the conversation")), options);
}

std::string ChatRenderer::render(Dict request, const ChatOptions& options) const {
  const auto given = [&](std::string_view name, const std::string& text) {
    const Value* found = request.find(name);
    if (found != nullptr && !text.empty()) fail_usage("chat: {} are given twice", name);
    if (!text.empty()) return parse_list(text, name);
    if (found == nullptr) return Value::none();
    if (!found->is(Kind::List)) fail_usage("chat: {} must be a JSON list", name);
    return *found;
  };
  const Value messages = given("messages", {});
  if (messages.items().empty()) fail_usage("chat: the conversation is empty");
  Values normal;
  for (const Value& message : messages.items()) normal.push_back(normalized(message));

  Dict variables;
  for (const auto& [name, text] : data_->special_tokens) variables.set(name, Value(text));
  const auto token = [&](std::string_view name, std::int32_t id) {
    if (id >= 0 && static_cast<std::size_t>(id) < data_->tokens.size()) {
      variables.set(name, Value(data_->tokens[static_cast<std::size_t>(id)]));
    }
  };
  token("bos_token", data_->bos);
  token("eos_token", data_->eos);
  if (!options.variables.empty()) {
    add_variables(parse(options.variables, "the template's variables"), "the template's variables",
                  variables);
  }
  if (const Value* more = request.find("chat_template_kwargs")) {
    add_variables(*more, "chat_template_kwargs", variables);
  }
  const Value tools = given("tools", options.tools);
  variables.set("messages", Value::list(std::move(normal)));
  variables.set("tools", tools);
  variables.set("documents", given("documents", options.documents));
  const Value* prompts = request.find("add_generation_prompt");
  variables.set("add_generation_prompt",
                prompts != nullptr ? *prompts : Value(options.add_generation_prompt));
  return find_template(options, !tools.is_none())->render(variables, options.now);
}

namespace {

void require_template(const ChatOptions& options) {
  if (options.template_source.empty() && options.template_name.empty()) {
    fail_usage("chat: without a model, name a template ({}) or give one",
               fmt::join(chat_template_names(), ", "));
  }
}

}  // namespace

std::string render_chat_template(std::string_view conversation, const ChatOptions& options) {
  require_template(options);
  const TokenizerData none;
  return ChatRenderer(none).render_json(conversation, options);
}

std::string render_chat_template(std::span<const ChatMessage> messages, const ChatOptions& options) {
  require_template(options);
  const TokenizerData none;
  return ChatRenderer(none).render(messages, options);
}

}  // namespace thinkey
