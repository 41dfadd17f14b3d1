#include "server/chat_prompt.h"

#include <algorithm>
#include <utility>

#include "engine/chat_templates.h"
#include "engine/model_impl.h"
#include "formats/printable.h"

namespace thinkey::server {
namespace {

constexpr std::size_t kMostTools = 128;

// The Jinja text that will be used; empty where there is none, which rendering then says.
std::string template_text(const Service& service, bool has_tools) {
  const ChatOptions& chat = service.options.chat;
  if (!chat.template_source.empty()) return chat.template_source;
  const TokenizerData& data = ModelAccess::impl(*service.model).file->tokenizer();
  const auto named = [&](std::string_view name) -> std::string {
    for (const auto& [known, source] : data.chat_templates) {
      if (known == name) return source;
    }
    return name == "default" ? data.chat_template : std::string();
  };
  if (!chat.template_name.empty()) {
    if (std::string own = named(chat.template_name); !own.empty()) return own;
    return find_chat_template(chat.template_name).value_or("");
  }
  std::string own = has_tools ? named("tool_use") : std::string();
  return own.empty() ? named("default") : own;
}

// Parts of text are joined: templates expect a string.
void join_content(OrderedJson& message, const std::string& path) {
  const auto content = message.find("content");
  if (content == message.end() || !content->is_array()) return;
  std::string text;
  for (std::size_t i = 0; i < content->size(); ++i) {
    const std::string at = fmt::format("{}.content[{}]", path, i);
    const OrderedJson& part = (*content)[i];
    if (!part.is_object() || !part.contains("type") || !part["type"].is_string()) {
      refuse(at, "{} must be an object with a \"type\"", at);
    }
    const auto type = part["type"].get<std::string>();
    if (type != "text" && type != "input_text" && type != "output_text") {
      refuse(at + ".type", "{}: \"{}\" is not supported; this server reads text", at, printable(type, 40));
    }
    if (!part.contains("text") || !part["text"].is_string()) refuse(at, "{} has no \"text\"", at);
    text += part["text"].get<std::string>();
  }
  *content = text;
}

// Templates write arguments as JSON themselves: they want the value, clients send its text.
void open_arguments(OrderedJson& message) {
  const auto calls = message.find("tool_calls");
  if (calls == message.end() || !calls->is_array()) return;
  for (OrderedJson& call : *calls) {
    if (!call.is_object() || !call.contains("function") || !call["function"].is_object()) continue;
    OrderedJson& function = call["function"];
    if (!function.contains("arguments") || !function["arguments"].is_string()) continue;
    OrderedJson value = OrderedJson::parse(function["arguments"].get<std::string>(), nullptr, false);
    if (value.is_object()) function["arguments"] = std::move(value);
  }
}

void check_messages(OrderedJson& messages) {
  if (messages.empty()) refuse("messages", "\"messages\" is empty");
  for (std::size_t i = 0; i < messages.size(); ++i) {
    OrderedJson& message = messages[i];
    const std::string path = fmt::format("messages[{}]", i);
    if (!message.is_object()) refuse(path, "{} must be an object", path);
    if (!message.contains("role") || !message["role"].is_string()) {
      refuse(path + ".role", "{} has no \"role\"", path);
    }
    if (message["role"] == "developer") message["role"] = "system";  // the newer name of the same
    join_content(message, path);
    const auto content = message.find("content");
    const bool has_calls = message.contains("tool_calls") && message["tool_calls"].is_array();
    if (content == message.end() || content->is_null()) {
      if (!has_calls) refuse(path + ".content", "{} has no \"content\"", path);
      message["content"] = "";
    } else if (!content->is_string()) {
      refuse(path + ".content", "{}.content must be a string or a list of parts", path);
    }
    open_arguments(message);
  }
}

std::vector<Tool> read_tools(const OrderedJson& tools) {
  if (tools.is_null()) return {};
  if (!tools.is_array()) refuse("tools", "\"tools\" must be a list");
  if (tools.size() > kMostTools) refuse("tools", "\"tools\" has more than {} entries", kMostTools);
  std::vector<Tool> out;
  for (std::size_t i = 0; i < tools.size(); ++i) {
    const std::string path = fmt::format("tools[{}]", i);
    const OrderedJson& tool = tools[i];
    if (!tool.is_object() || !says(tool, "type", "function") || !tool.contains("function") ||
        !tool["function"].is_object()) {
      refuse(path, "{} must be {{\"type\": \"function\", \"function\": {{...}}}}", path);
    }
    const OrderedJson& function = tool["function"];
    if (!function.contains("name") || !function["name"].is_string() ||
        function["name"].get_ref<const std::string&>().empty()) {
      refuse(path + ".function.name", "{}.function has no \"name\"", path);
    }
    Tool known{.name = function["name"].get<std::string>(), .parameters = nullptr};
    const bool plain =
        known.name.size() <= 64 && std::all_of(known.name.begin(), known.name.end(), [](char c) {
          return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
                 c == '-';
        });
    if (!plain) {
      refuse(path + ".function.name", "{}.function.name must have at most 64 letters, digits, _ and -", path);
    }
    if (function.contains("parameters")) known.parameters = function["parameters"];
    if (function.contains("strict") && !function["strict"].is_null()) {
      if (!function["strict"].is_boolean()) {
        refuse(path + ".function.strict", "{}.function.strict must be true or false", path);
      }
      known.strict = function["strict"].get<bool>();
    }
    if (!known.parameters.is_null() && !known.parameters.is_object()) {
      refuse(path + ".function.parameters", "{}.function.parameters must be an object", path);
    }
    out.push_back(std::move(known));
  }
  return out;
}

// False when tools are not to be offered.
bool read_choice(const OrderedJson* choice, ChatPrompt& out) {
  if (choice == nullptr) return true;
  if (choice->is_string()) {
    const auto word = choice->get<std::string>();
    if (word == "none") return false;
    if (word == "required") {
      if (out.tools.empty()) refuse("tool_choice", "\"tool_choice\" is \"required\", but there are no tools");
      out.must_call = true;
    } else if (word != "auto") {
      refuse("tool_choice", "\"tool_choice\" must be none, auto, required or a function, not \"{}\"",
             printable(word, 40));
    }
    return true;
  }
  std::string name;
  if (choice->is_object() && says(*choice, "type", "function")) {
    const OrderedJson& at = choice->contains("function") ? (*choice)["function"] : *choice;
    if (at.is_object() && at.contains("name") && at["name"].is_string()) name = at["name"].get<std::string>();
  }
  if (name.empty()) refuse("tool_choice", "\"tool_choice\" must be none, auto, required or a function");
  const bool known =
      std::any_of(out.tools.begin(), out.tools.end(), [&](const Tool& t) { return t.name == name; });
  if (!known) {
    refuse("tool_choice", "\"tool_choice\" names \"{}\", which is not among the tools", printable(name, 60));
  }
  out.must_call = true;
  out.forced_tool = name;
  return true;
}

}  // namespace

ChatPrompt render_chat(OrderedJson messages, OrderedJson tools, const OrderedJson* tool_choice, bool parallel,
                       const OrderedJson* variables, bool generation_prompt, const Service& service) {
  ChatPrompt out;
  out.parallel = parallel;
  check_messages(messages);
  out.tools = read_tools(tools);
  if (!read_choice(tool_choice, out)) {
    out.tools.clear();
    tools = nullptr;
  }
  out.form = tool_form(template_text(service, !out.tools.empty()));
  if (!out.tools.empty() && out.form == ToolForm::None) {
    refuse("tools", "the model's chat template knows no tools");
  }
  OrderedJson conversation;
  conversation["messages"] = std::move(messages);
  if (!out.tools.empty()) conversation["tools"] = std::move(tools);
  conversation["add_generation_prompt"] = generation_prompt;
  if (variables != nullptr) conversation["chat_template_kwargs"] = *variables;
  try {
    out.text = service.model->render_chat_json(conversation.dump(), service.options.chat);
    out.tokens = service.model->tokenize_chat(out.text);
  } catch (const Error& error) {
    refuse("messages", "{}", error.what());
  }
  return out;
}

ChatPrompt read_chat_prompt(RequestFields& fields, const Service& service) {
  const OrderedJson* messages = fields.array("messages");
  if (messages == nullptr) fields.fail("messages", "is missing");
  const OrderedJson* tools = fields.array("tools");
  const bool parallel = fields.boolean("parallel_tool_calls").value_or(true);
  const OrderedJson* variables = fields.object("chat_template_kwargs");
  const OrderedJson* choice = fields.find("tool_choice");
  const bool generation_prompt = fields.boolean("add_generation_prompt").value_or(true);
  return render_chat(*messages, tools == nullptr ? OrderedJson() : *tools, choice, parallel, variables,
                     generation_prompt, service);
}

}  // namespace thinkey::server
