// POST /v1/responses: text and function calls. Nothing is stored: a conversation comes whole with each
// request, and goes on from its kept cache.
#include <memory>
#include <utility>
#include <vector>

#include "formats/printable.h"
#include "server/chat_prompt.h"
#include "server/constraint.h"
#include "server/generation.h"
#include "server/sse.h"

namespace thinkey::server {
namespace {

struct ResponsesRequest {
  GenerationRequest generation;
  OfferedTools tools;
  bool stream = false;
  OrderedJson echo;  // fields of the request that its answer repeats
};

// Items of "input" as messages of a chat.
OrderedJson messages_of(const OrderedJson& input) {
  OrderedJson messages = OrderedJson::array();
  if (input.is_string()) {
    messages.push_back({{"role", "user"}, {"content", input}});
    return messages;
  }
  if (!input.is_array()) refuse("input", "\"input\" must be a string or a list of items");
  for (std::size_t i = 0; i < input.size(); ++i) {
    const std::string path = fmt::format("input[{}]", i);
    RequestFields item(input[i], path + ".");
    const std::string type = item.text("type").value_or("message");
    item.ignore({"id", "status"});
    if (type == "message") {
      OrderedJson message = {{"role", item.require_text("role")}};
      const OrderedJson* content = item.find("content");
      if (content == nullptr) item.fail("content", "is missing");
      message["content"] = *content;
      messages.push_back(std::move(message));
    } else if (type == "function_call") {
      OrderedJson call = {{"id", item.require_text("call_id")}, {"type", "function"}};
      call["function"] = {{"name", item.require_text("name")}, {"arguments", item.require_text("arguments")}};
      const bool joins = !messages.empty() && says(messages.back(), "role", "assistant") &&
                         messages.back().contains("tool_calls");
      if (!joins) {
        messages.push_back(
            {{"role", "assistant"}, {"content", nullptr}, {"tool_calls", OrderedJson::array()}});
      }
      messages.back()["tool_calls"].push_back(std::move(call));
    } else if (type == "function_call_output") {
      messages.push_back({{"role", "tool"},
                          {"tool_call_id", item.require_text("call_id")},
                          {"content", item.require_text("output")}});
    } else {
      item.fail("type",
                fmt::format("\"{}\" is not supported: message, function_call and function_call_output are",
                            printable(type, 40)));
    }
    item.finish();
  }
  return messages;
}

// Tools are flat here: {"type": "function", "name", "description", "parameters", "strict"}.
OrderedJson tools_of(const OrderedJson* tools) {
  if (tools == nullptr) return nullptr;
  OrderedJson out = OrderedJson::array();
  for (std::size_t i = 0; i < tools->size(); ++i) {
    RequestFields tool((*tools)[i], fmt::format("tools[{}].", i));
    const std::string type = tool.require_text("type");
    if (type != "function") {
      tool.fail("type", fmt::format("\"{}\" is not supported: function is", printable(type, 40)));
    }
    OrderedJson function = {{"name", tool.require_text("name")}};
    if (const auto text = tool.text("description")) function["description"] = *text;
    if (const OrderedJson* parameters = tool.object("parameters")) function["parameters"] = *parameters;
    if (const auto strict = tool.boolean("strict")) function["strict"] = *strict;
    tool.finish();
    out.push_back({{"type", "function"}, {"function", std::move(function)}});
  }
  return out;
}

ResponsesRequest read_request(const OrderedJson& body, Service& service) {
  RequestFields fields(body);
  ResponsesRequest out;
  check_model(fields, service);
  const OrderedJson* input = fields.find("input");
  if (input == nullptr) fields.fail("input", "is missing");
  OrderedJson messages = messages_of(*input);
  if (const auto instructions = fields.text("instructions")) {
    messages.insert(messages.begin(), OrderedJson{{"role", "system"}, {"content", *instructions}});
  }
  out.stream = fields.boolean("stream").value_or(false);
  if (fields.boolean("store").value_or(false)) {
    fields.fail("store", "is not supported: this server stores no responses");
  }
  if (fields.boolean("background").value_or(false)) fields.fail("background", "is not supported");
  if (fields.find("previous_response_id") != nullptr) {
    fields.fail("previous_response_id",
                "is not supported: send the conversation whole; it goes on from its cache");
  }
  if (const auto truncation = fields.text("truncation"); truncation && *truncation != "disabled") {
    fields.fail("truncation", "must be disabled: this server shortens no prompt");
  }
  read_generation_fields(fields, service, out.generation);
  if (const auto most = fields.integer("max_output_tokens", 1, 1 << 30)) out.generation.max_tokens = *most;
  const OrderedJson* tools = fields.array("tools");
  const OrderedJson* choice = fields.find("tool_choice");
  const bool parallel = fields.boolean("parallel_tool_calls").value_or(true);
  const OrderedJson* variables = fields.object("chat_template_kwargs");
  OrderedJson format;
  if (const OrderedJson* text = fields.object("text")) {
    RequestFields inner(*text, "text.");
    if (const OrderedJson* given = inner.object("format")) {
      format = *given;
      if (says(format, "type", "json_schema")) {  // flat here
        OrderedJson wrapped = format;
        wrapped.erase("type");
        format = {{"type", "json_schema"}, {"json_schema", std::move(wrapped)}};
      }
    }
    inner.finish();
  }
  fields.ignore({"user", "metadata", "service_tier", "safety_identifier", "prompt_cache_key"});
  if (const OrderedJson* include = fields.array("include"); include != nullptr && !include->empty()) {
    fields.fail("include", "is not supported: there is nothing to include");
  }
  ChatPrompt prompt =
      render_chat(std::move(messages), tools_of(tools), choice, parallel, variables, true, service);
  fields.finish();

  out.tools = set_prompt(std::move(prompt), format.is_null() ? nullptr : &format, service, out.generation);
  const auto repeat = [&](const char* name, const OrderedJson& otherwise) {
    out.echo[name] = body.contains(name) ? body[name] : otherwise;
  };
  repeat("instructions", nullptr);
  repeat("max_output_tokens", nullptr);
  out.echo["parallel_tool_calls"] = parallel;
  out.echo["temperature"] = as_written(out.generation.sampler.temperature);
  out.echo["top_p"] = as_written(out.generation.sampler.top_p);
  repeat("tool_choice", "auto");
  repeat("tools", OrderedJson::array());
  repeat("metadata", OrderedJson::object());
  return out;
}

// The answer's items as they grow.
class Responses : public EventSource {
 public:
  Responses(Service& service, ResponsesRequest request)
      : service_(service),
        request_(std::move(request)),
        id_(new_id("resp_")),
        created_(now_seconds()),
        parser_(message_parser(request_.tools.form, request_.tools.names)) {
    usage_.prompt = request_.generation.prompt.size();
    generation_ = std::make_unique<Generation>(service_, std::move(request_.generation));
  }

  [[nodiscard]] bool named() const override { return true; }

  OrderedJson whole() {
    const Send ignore = [](const OrderedJson&) {};
    while (next(ignore)) {
    }
    return response();
  }

  bool next(const std::function<void(const OrderedJson&)>& send) override {
    if (!begun_) {
      begun_ = true;
      emit(send, "response.created", {{"response", response()}});
      emit(send, "response.in_progress", {{"response", response()}});
      return true;
    }
    const GenerationEvent event = generation_->next();
    if (const auto* done = std::get_if<PrefillDone>(&event)) usage_.cached = done->cached_tokens;
    if (const auto* token = std::get_if<TokenSampled>(&event)) {
      ++usage_.generated;
      add(parser_->push(token->text), send);
    }
    if (const auto* done = std::get_if<AnswerDone>(&event)) {
      add(parser_->push(done->text), send);
      add(parser_->finish(), send);
      cut_ = done->reason == FinishReason::Length || done->reason == FinishReason::ContextFull;
      close_item(send);
      usage_.cache = done->cache;
      status_ = cut_ ? "incomplete" : "completed";
      emit(send, cut_ ? "response.incomplete" : "response.completed", {{"response", response()}});
    }
    return !generation_->finished();
  }

 private:
  using Send = std::function<void(const OrderedJson&)>;

  void emit(const Send& send, const char* type, OrderedJson fields) {
    OrderedJson event = {{"type", type}, {"sequence_number", sequence_++}};
    for (auto& [key, value] : fields.items()) event[key] = value;
    send(event);
  }

  void add(const MessageDelta& delta, const Send& send) {
    if (!delta.content.empty()) {
      if (item_type_ != "message") {
        close_item(send);
        open_item("message", {{"role", "assistant"}, {"content", OrderedJson::array()}}, "msg_", send);
        emit(send, "response.content_part.added", part_event());
      }
      text_ += delta.content;
      emit(send, "response.output_text.delta",
           at({{"content_index", 0}, {"delta", delta.content}, {"logprobs", OrderedJson::array()}}));
    }
    for (const ToolCallDelta& call : delta.tool_calls) {
      if (!call.name.empty()) {
        close_item(send);
        open_item("function_call", {{"call_id", call.id}, {"name", call.name}, {"arguments", ""}}, "fc_",
                  send);
      }
      if (call.arguments.empty() || item_type_ != "function_call") continue;
      text_ += call.arguments;
      emit(send, "response.function_call_arguments.delta", at({{"delta", call.arguments}}));
    }
  }

  [[nodiscard]] OrderedJson at(OrderedJson fields) const {
    OrderedJson out = {{"item_id", item_["id"]}, {"output_index", output_.size()}};
    for (auto& [key, value] : fields.items()) out[key] = value;
    return out;
  }
  [[nodiscard]] OrderedJson part_event() const {
    return at({{"content_index", 0},
               {"part", {{"type", "output_text"}, {"text", text_}, {"annotations", OrderedJson::array()}}}});
  }

  void open_item(const char* type, OrderedJson fields, const char* prefix, const Send& send) {
    item_type_ = type;
    text_.clear();
    item_ = {{"id", new_id(prefix)}, {"type", type}, {"status", "in_progress"}};
    for (auto& [key, value] : fields.items()) item_[key] = value;
    emit(send, "response.output_item.added", {{"output_index", output_.size()}, {"item", item_}});
  }

  void close_item(const Send& send) {
    if (item_type_.empty()) return;
    item_["status"] = cut_ ? "incomplete" : "completed";
    if (item_type_ == "message") {
      emit(send, "response.output_text.done",
           at({{"content_index", 0}, {"text", text_}, {"logprobs", OrderedJson::array()}}));
      const OrderedJson part = part_event();
      emit(send, "response.content_part.done", part);
      item_["content"].push_back(part["part"]);
    } else {
      item_["arguments"] = text_;
      emit(send, "response.function_call_arguments.done",
           at({{"arguments", text_}, {"name", item_["name"]}}));
    }
    emit(send, "response.output_item.done", {{"output_index", output_.size()}, {"item", item_}});
    output_.push_back(std::move(item_));
    item_type_.clear();
  }

  [[nodiscard]] OrderedJson response() const {
    OrderedJson out = {{"id", id_}, {"object", "response"}, {"created_at", created_}, {"status", status_}};
    out["error"] = nullptr;
    out["incomplete_details"] =
        status_ == "incomplete" ? OrderedJson{{"reason", "max_output_tokens"}} : OrderedJson();
    out["model"] = service_.options.names[0];
    out["output"] = output_;
    for (const auto& [key, value] : request_.echo.items()) out[key] = value;
    out["store"] = false;
    out["usage"] = nullptr;
    if (status_ != "in_progress") {
      out["usage"] = {{"input_tokens", usage_.prompt},
                      {"input_tokens_details", {{"cached_tokens", usage_.cached}}},
                      {"output_tokens", usage_.generated},
                      {"output_tokens_details", {{"reasoning_tokens", 0}}},
                      {"total_tokens", usage_.prompt + usage_.generated}};
      if (usage_.cache) out["usage"]["cache_bytes"] = usage_.cache->bytes;
    }
    return out;
  }

  Service& service_;
  ResponsesRequest request_;
  std::string id_;
  std::int64_t created_;
  std::unique_ptr<MessageParser> parser_;
  std::unique_ptr<Generation> generation_;
  Usage usage_;
  bool begun_ = false, cut_ = false;
  std::string status_ = "in_progress";
  OrderedJson output_ = OrderedJson::array();
  std::string item_type_;  // of the item that grows; empty: none does
  OrderedJson item_;
  std::string text_;  // its text or arguments so far
  std::size_t sequence_ = 0;
};

}  // namespace

void add_responses_routes(HttpServer& server, Service& service) {
  server.post("/v1/responses", [&service](const HttpRequest& http, HttpResponse& response) {
    const OrderedJson body = parse_body(http.body);
    ResponsesRequest request = read_request(body, service);
    const bool stream = request.stream;
    const auto answer = std::make_shared<Responses>(service, std::move(request));
    if (stream) {
      send_stream(response, answer);
    } else {
      send_json(response, answer->whole());
    }
  });
}

}  // namespace thinkey::server
