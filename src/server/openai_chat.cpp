// POST /v1/chat/completions
#include <memory>
#include <utility>
#include <vector>

#include "server/chat_prompt.h"
#include "server/constraint.h"
#include "server/generation.h"
#include "server/sse.h"
#include "server/token_text.h"
#include "server/tool_calls/message_parser.h"

namespace thinkey::server {
namespace {

constexpr int kMostTopLogprobs = 20;
constexpr std::size_t kReportEvery = 8;  // tokens, where the cache is to be reported

struct ChatRequest {
  GenerationRequest generation;
  OfferedTools tools;
  bool stream = false, include_usage = false, logprobs = false, report_cache = false;
  std::string model;
};

const char* finish_name(FinishReason reason, bool called) {
  if (reason == FinishReason::Length || reason == FinishReason::ContextFull) return "length";
  return called ? "tool_calls" : "stop";
}

ChatRequest read_chat(const OrderedJson& body, Service& service) {
  RequestFields fields(body);
  ChatRequest out;
  check_model(fields, service);
  out.model = service.options.names[0];
  const StreamOptions streaming = read_stream_options(fields);
  out.stream = streaming.stream;
  out.include_usage = streaming.include_usage;
  read_generation_fields(fields, service, out.generation);
  const auto old = fields.integer("max_tokens", 0, 1 << 30);
  const auto most = fields.integer("max_completion_tokens", 0, 1 << 30);
  if (old && most && *old != *most) fields.fail("max_tokens", "and \"max_completion_tokens\" differ");
  if (old || most) out.generation.max_tokens = most ? *most : *old;
  out.generation.choices = static_cast<int>(fields.integer("n", 1, 128).value_or(1));
  out.logprobs = fields.boolean("logprobs").value_or(false);
  if (const auto top = fields.integer("top_logprobs", 0, kMostTopLogprobs)) {
    if (!out.logprobs) fields.fail("top_logprobs", "needs \"logprobs\": true");
    out.generation.top_logprobs = static_cast<int>(*top);
  } else if (out.logprobs) {
    out.generation.top_logprobs = 0;
  }
  out.report_cache = fields.boolean("report_cache").value_or(false);
  if (out.report_cache) out.generation.report_every = kReportEvery;
  const OrderedJson* format = fields.object("response_format");
  fields.ignore({"user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key"});
  ChatPrompt prompt = read_chat_prompt(fields, service);
  fields.finish();

  out.tools = set_prompt(std::move(prompt), format, service, out.generation);
  return out;
}

// One choice, as far as it has come.
struct Choice {
  std::unique_ptr<MessageParser> parser;
  std::string content, reasoning;
  OrderedJson calls = OrderedJson::array();
  OrderedJson logprobs = OrderedJson::array();
  std::string finish;

  void add(const MessageDelta& delta) {
    content += delta.content;
    reasoning += delta.reasoning;
    for (const ToolCallDelta& call : delta.tool_calls) {
      while (calls.size() <= static_cast<std::size_t>(call.index)) {
        calls.push_back({{"id", ""}, {"type", "function"}, {"function", {{"name", ""}, {"arguments", ""}}}});
      }
      OrderedJson& to = calls[static_cast<std::size_t>(call.index)];
      if (!call.id.empty()) to["id"] = call.id;
      if (!call.name.empty()) to["function"]["name"] = call.name;
      to["function"]["arguments"] = to["function"]["arguments"].get<std::string>() + call.arguments;
    }
  }
};

OrderedJson delta_json(const MessageDelta& delta) {
  OrderedJson out = OrderedJson::object();
  if (!delta.content.empty()) out["content"] = delta.content;
  if (!delta.reasoning.empty()) out["reasoning_content"] = delta.reasoning;
  for (const ToolCallDelta& call : delta.tool_calls) {
    OrderedJson piece = {{"index", call.index}};
    if (!call.id.empty()) {
      piece["id"] = call.id;
      piece["type"] = "function";
    }
    piece["function"] = OrderedJson::object();
    if (!call.name.empty()) piece["function"]["name"] = call.name;
    piece["function"]["arguments"] = call.arguments;
    out["tool_calls"].push_back(std::move(piece));
  }
  return out;
}

// What both ways of answering do with the events.
class ChatAnswer {
 public:
  ChatAnswer(Service& service, ChatRequest request)
      : service_(service),
        request_(std::move(request)),
        id_(new_id("chatcmpl-")),
        created_(now_seconds()),
        choices_(static_cast<std::size_t>(request_.generation.choices)) {
    for (Choice& choice : choices_) choice.parser = message_parser(request_.tools.form, request_.tools.names);
    usage_.prompt = request_.generation.prompt.size();
    generation_ = std::make_unique<Generation>(service_, std::move(request_.generation));
  }

  [[nodiscard]] OrderedJson head(const char* object) const {
    return {{"id", id_}, {"object", object}, {"created", created_}, {"model", request_.model}};
  }

  OrderedJson whole() {
    while (!generation_->finished()) {
      const GenerationEvent event = generation_->next();
      if (const auto* done = std::get_if<PrefillDone>(&event)) usage_.cached = done->cached_tokens;
      if (const auto* token = std::get_if<TokenSampled>(&event)) {
        Choice& choice = of(token->choice);
        ++usage_.generated;
        choice.add(choice.parser->push(token->text));
        if (token->logprobs) choice.logprobs.push_back(chat_logprob(*service_.model, *token->logprobs));
      }
      if (const auto* done = std::get_if<AnswerDone>(&event)) {
        Choice& choice = of(done->choice);
        choice.add(choice.parser->push(done->text));
        choice.add(choice.parser->finish());
        choice.finish = finish_name(done->reason, !choice.calls.empty());
        usage_.cache = done->cache;
      }
    }
    OrderedJson out = head("chat.completion");
    out["choices"] = OrderedJson::array();
    for (std::size_t i = 0; i < choices_.size(); ++i) {
      Choice& choice = choices_[i];
      OrderedJson message = {{"role", "assistant"}};
      message["content"] =
          choice.content.empty() && !choice.calls.empty() ? OrderedJson() : OrderedJson(choice.content);
      if (!choice.reasoning.empty()) message["reasoning_content"] = choice.reasoning;
      if (!choice.calls.empty()) message["tool_calls"] = choice.calls;
      OrderedJson json = {{"index", i}, {"message", std::move(message)}};
      json["logprobs"] = request_.logprobs ? OrderedJson{{"content", choice.logprobs}} : OrderedJson();
      json["finish_reason"] = choice.finish;
      out["choices"].push_back(std::move(json));
    }
    out["usage"] = usage_.json();
    if (request_.report_cache && usage_.cache) out["cache"] = cache_json(*usage_.cache);
    return out;
  }

  bool next(const std::function<void(const OrderedJson&)>& send) {
    if (!begun_) {
      begun_ = true;
      for (std::size_t i = 0; i < choices_.size(); ++i) {
        send(chunk(static_cast<int>(i), {{"role", "assistant"}, {"content", ""}}, OrderedJson(), nullptr));
      }
      return true;
    }
    const GenerationEvent event = generation_->next();
    if (const auto* done = std::get_if<PrefillDone>(&event)) usage_.cached = done->cached_tokens;
    if (const auto* token = std::get_if<TokenSampled>(&event)) {
      Choice& choice = of(token->choice);
      ++usage_.generated;
      const MessageDelta delta = choice.parser->push(token->text);
      choice.add(delta);
      OrderedJson logprobs;
      if (token->logprobs) {
        logprobs = {{"content", OrderedJson::array({chat_logprob(*service_.model, *token->logprobs)})}};
      }
      if (!delta.empty() || !logprobs.is_null() || token->cache) {
        OrderedJson json = chunk(token->choice, delta_json(delta), logprobs, nullptr);
        if (token->cache) json["cache"] = cache_json(*token->cache);
        send(json);
      }
    }
    if (const auto* done = std::get_if<AnswerDone>(&event)) {
      Choice& choice = of(done->choice);
      for (const MessageDelta& delta : {choice.parser->push(done->text), choice.parser->finish()}) {
        choice.add(delta);
        if (!delta.empty()) send(chunk(done->choice, delta_json(delta), OrderedJson(), nullptr));
      }
      usage_.cache = done->cache;
      OrderedJson json = chunk(done->choice, OrderedJson::object(), OrderedJson(),
                               finish_name(done->reason, !choice.calls.empty()));
      if (request_.report_cache) json["cache"] = cache_json(done->cache);
      send(json);
    }
    if (!generation_->finished()) return true;
    if (request_.include_usage) {
      OrderedJson json = head("chat.completion.chunk");
      json["choices"] = OrderedJson::array();
      json["usage"] = usage_.json();
      send(json);
    }
    return false;
  }

 private:
  Choice& of(int choice) { return choices_[static_cast<std::size_t>(choice)]; }

  [[nodiscard]] OrderedJson chunk(int choice, const OrderedJson& delta, const OrderedJson& logprobs,
                                  const char* finish) const {
    OrderedJson out = head("chat.completion.chunk");
    OrderedJson json = {{"index", choice}, {"delta", delta}};
    json["logprobs"] = logprobs;
    json["finish_reason"] = finish == nullptr ? OrderedJson() : OrderedJson(finish);
    out["choices"] = OrderedJson::array({std::move(json)});
    if (request_.include_usage) out["usage"] = nullptr;
    return out;
  }

  Service& service_;
  ChatRequest request_;
  std::string id_;
  std::int64_t created_;
  std::vector<Choice> choices_;
  Usage usage_;
  std::unique_ptr<Generation> generation_;
  bool begun_ = false;
};

class ChatStream : public EventSource {
 public:
  ChatStream(Service& service, ChatRequest request) : answer_(service, std::move(request)) {}
  bool next(const std::function<void(const OrderedJson&)>& send) override { return answer_.next(send); }

 private:
  ChatAnswer answer_;
};

}  // namespace

void add_chat_routes(HttpServer& server, Service& service) {
  server.post("/v1/chat/completions", [&service](const HttpRequest& http, HttpResponse& response) {
    const OrderedJson body = parse_body(http.body);
    ChatRequest request = read_chat(body, service);
    if (request.stream) {
      send_stream(response, std::make_shared<ChatStream>(service, std::move(request)));
    } else {
      send_json(response, ChatAnswer(service, std::move(request)).whole());
    }
  });
}

}  // namespace thinkey::server
