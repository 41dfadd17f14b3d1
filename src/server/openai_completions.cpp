// POST /v1/completions: text, or tokens, continued; with the prompt's own log-probabilities if asked.
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "server/generation.h"
#include "server/sse.h"
#include "server/token_text.h"

namespace thinkey::server {
namespace {

constexpr std::size_t kMostPrompts = 256;
constexpr std::int64_t kDefaultTokens = 16;  // OpenAI's

struct Prompt {
  std::string text;
  std::vector<std::int32_t> tokens;
};

struct CompletionRequest {
  GenerationRequest generation;  // without a prompt
  std::vector<Prompt> prompts;
  bool stream = false, include_usage = false, echo = false;
  std::optional<int> logprobs;
};

Prompt prompt_of(const std::string& text, const Model& model) {
  try {
    return {.text = text, .tokens = model.tokenize(text, {.add_special = true, .parse_special = true})};
  } catch (const Error& error) {
    refuse("prompt", "{}", error.what());
  }
}

Prompt prompt_of_tokens(const OrderedJson& list, const Model& model) {
  Prompt out;
  for (const OrderedJson& token : list) {
    if (!token.is_number_integer() || token.get<std::int64_t>() < 0 ||
        token.get<std::uint64_t>() >= model.info().vocabulary) {
      refuse("prompt", "\"prompt\" has a token that is not a whole number below {}", model.info().vocabulary);
    }
    out.tokens.push_back(token.get<std::int32_t>());
  }
  out.text = model.detokenize(out.tokens, true);
  return out;
}

std::vector<Prompt> read_prompts(RequestFields& fields, const Model& model) {
  const OrderedJson* prompt = fields.find("prompt");
  if (prompt == nullptr) fields.fail("prompt", "is missing");
  if (prompt->is_string()) return {prompt_of(prompt->get<std::string>(), model)};
  if (!prompt->is_array() || prompt->empty()) {
    fields.fail("prompt", "must be a string, a list of tokens, or a list of those");
  }
  if (prompt->front().is_number()) return {prompt_of_tokens(*prompt, model)};
  if (prompt->size() > kMostPrompts)
    fields.fail("prompt", fmt::format("has more than {} prompts", kMostPrompts));
  std::vector<Prompt> out;
  for (const OrderedJson& one : *prompt) {
    if (one.is_string()) {
      out.push_back(prompt_of(one.get<std::string>(), model));
    } else if (one.is_array()) {
      out.push_back(prompt_of_tokens(one, model));
    } else {
      fields.fail("prompt", "must be a string, a list of tokens, or a list of those");
    }
  }
  return out;
}

CompletionRequest read_completion(const OrderedJson& body, Service& service) {
  RequestFields fields(body);
  CompletionRequest out;
  check_model(fields, service);
  out.prompts = read_prompts(fields, *service.model);
  for (const Prompt& prompt : out.prompts) {
    if (prompt.tokens.empty()) fields.fail("prompt", "is empty");
  }
  const StreamOptions streaming = read_stream_options(fields);
  out.stream = streaming.stream;
  out.include_usage = streaming.include_usage;
  read_generation_fields(fields, service, out.generation);
  out.generation.max_tokens = fields.integer("max_tokens", 0, 1 << 30).value_or(kDefaultTokens);
  out.generation.choices = static_cast<int>(fields.integer("n", 1, 128).value_or(1));
  if (const auto best = fields.integer("best_of", 1, 128); best && *best != out.generation.choices) {
    fields.fail("best_of", "is not supported unless it equals \"n\"");
  }
  if (const auto n = fields.integer("logprobs", 0, 100)) out.logprobs = static_cast<int>(*n);
  out.generation.top_logprobs = out.logprobs.value_or(-1);
  out.echo = fields.boolean("echo").value_or(false);
  out.generation.prompt_logprobs = out.echo && out.logprobs.has_value();
  fields.ignore({"user"});
  fields.finish();
  return out;
}

class Completion : public EventSource {
 public:
  Completion(Service& service, CompletionRequest request)
      : service_(service), request_(std::move(request)), id_(new_id("cmpl-")), created_(now_seconds()) {
    for (const Prompt& prompt : request_.prompts) {
      GenerationRequest one = request_.generation;
      one.prompt = prompt.tokens;
      usage_.prompt += prompt.tokens.size();
      generations_.push_back(std::make_unique<Generation>(service_, std::move(one)));
    }
    for (std::size_t i = 0; i < request_.prompts.size() * n(); ++i) {
      choices_.emplace_back(*service.model, request_.logprobs.value_or(0));
    }
  }

  OrderedJson whole() {
    const auto ignore = [](std::size_t) {};
    while (at_ < generations_.size()) step(ignore);
    OrderedJson out = head();
    out["choices"] = OrderedJson::array();
    for (std::size_t i = 0; i < choices_.size(); ++i) out["choices"].push_back(take(i));
    out["usage"] = usage_.json();
    return out;
  }

  bool next(const std::function<void(const OrderedJson&)>& send) override {
    step([&](std::size_t i) {
      OrderedJson out = head();
      out["choices"] = OrderedJson::array({take(i)});
      if (request_.include_usage) out["usage"] = nullptr;
      send(out);
    });
    if (at_ < generations_.size()) return true;
    if (request_.include_usage) {
      OrderedJson out = head();
      out["choices"] = OrderedJson::array();
      out["usage"] = usage_.json();
      send(out);
    }
    return false;
  }

 private:
  struct Choice {
    Choice(const Model& model, int top) : logprobs(model, top) {}
    std::string text;
    CompletionLogprobs logprobs;
    const char* finish = nullptr;
  };

  [[nodiscard]] std::size_t n() const { return static_cast<std::size_t>(request_.generation.choices); }
  [[nodiscard]] OrderedJson head() const {
    return {{"id", id_},
            {"object", "text_completion"},
            {"created", created_},
            {"model", service_.options.names[0]}};
  }

  // What choice i has gained.
  OrderedJson take(std::size_t i) {
    Choice& choice = choices_[i];
    OrderedJson out = {{"text", std::exchange(choice.text, {})}, {"index", i}};
    out["logprobs"] = request_.logprobs ? choice.logprobs.take() : OrderedJson();
    out["finish_reason"] = choice.finish == nullptr ? OrderedJson() : OrderedJson(choice.finish);
    return out;
  }

  // One event of the prompt that is at turn; `changed` is called with choices that have something new.
  void step(const std::function<void(std::size_t)>& changed) {
    Generation& generation = *generations_[at_];
    const std::size_t first = at_ * n();
    const GenerationEvent event = generation.next();
    if (const auto* done = std::get_if<PrefillDone>(&event)) {
      usage_.cached += done->cached_tokens;
      for (std::size_t i = first; request_.echo && i < first + n(); ++i) {
        echo(choices_[i], done->logprobs);
        changed(i);
      }
    }
    if (const auto* token = std::get_if<TokenSampled>(&event)) {
      const std::size_t i = first + static_cast<std::size_t>(token->choice);
      ++usage_.generated;
      choices_[i].text += token->text;
      if (token->logprobs) choices_[i].logprobs.add(token->token, &*token->logprobs);
      if (!token->text.empty() || token->logprobs) changed(i);
    }
    if (const auto* done = std::get_if<AnswerDone>(&event)) {
      const std::size_t i = first + static_cast<std::size_t>(done->choice);
      choices_[i].text += done->text;
      const bool cut = done->reason == FinishReason::Length || done->reason == FinishReason::ContextFull;
      choices_[i].finish = cut ? "length" : "stop";
      usage_.cache = done->cache;
      changed(i);
    }
    if (generation.finished()) ++at_;
  }

  void echo(Choice& choice, const std::vector<TokenLogprobs>& logprobs) {
    const Prompt& prompt = request_.prompts[at_];
    choice.text += prompt.text;
    if (!request_.logprobs) return;
    for (std::size_t t = 0; t < prompt.tokens.size(); ++t) {
      choice.logprobs.add(prompt.tokens[t], t == 0 ? nullptr : &logprobs[t - 1]);
    }
  }

  Service& service_;
  CompletionRequest request_;
  std::string id_;
  std::int64_t created_;
  std::vector<std::unique_ptr<Generation>> generations_;  // of the prompts
  std::vector<Choice> choices_;                           // [prompts, n]
  std::size_t at_ = 0;
  Usage usage_;
};

}  // namespace

void add_completion_routes(HttpServer& server, Service& service) {
  server.post("/v1/completions", [&service](const HttpRequest& http, HttpResponse& response) {
    const OrderedJson body = parse_body(http.body);
    CompletionRequest request = read_completion(body, service);
    const bool stream = request.stream;
    const auto completion = std::make_shared<Completion>(service, std::move(request));
    if (stream) {
      send_stream(response, completion);
    } else {
      send_json(response, completion->whole());
    }
  });
}

}  // namespace thinkey::server
