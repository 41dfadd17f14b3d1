// Text to tokens and back, and conversations to text: /tokenize, /detokenize, /apply-template.
#include "server/chat_prompt.h"
#include "server/generation.h"
#include "server/token_text.h"

namespace thinkey::server {
namespace {

void tokenize(Service& service, const HttpRequest& http, HttpResponse& response) {
  const OrderedJson body = parse_body(http.body);
  RequestFields fields(body);
  check_model(fields, service);
  const std::string content = fields.require_text("content");
  const bool special = fields.boolean("add_special").value_or(false);
  const bool parse = fields.boolean("parse_special").value_or(true);
  const bool pieces = fields.boolean("with_pieces").value_or(false);
  fields.finish();
  OrderedJson out;
  out["tokens"] = OrderedJson::array();
  for (const std::int32_t id :
       service.model->tokenize(content, {.add_special = special, .parse_special = parse})) {
    if (pieces) {
      out["tokens"].push_back({{"id", id}, {"piece", token_text(*service.model, id)}});
    } else {
      out["tokens"].push_back(id);
    }
  }
  send_json(response, out);
}

void detokenize(Service& service, const HttpRequest& http, HttpResponse& response) {
  const OrderedJson body = parse_body(http.body);
  RequestFields fields(body);
  check_model(fields, service);
  const OrderedJson* tokens = fields.array("tokens");
  if (tokens == nullptr) fields.fail("tokens", "is missing");
  std::vector<std::int32_t> ids;
  for (const OrderedJson& token : *tokens) {
    if (!token.is_number_integer() || token.get<std::int64_t>() < 0 ||
        token.get<std::uint64_t>() >= service.model->info().vocabulary) {
      fields.fail("tokens", fmt::format("must be whole numbers below {}", service.model->info().vocabulary));
    }
    ids.push_back(token.get<std::int32_t>());
  }
  fields.finish();
  send_json(response, {{"content", service.model->detokenize(ids, true)}});
}

void apply_template(Service& service, const HttpRequest& http, HttpResponse& response) {
  const OrderedJson body = parse_body(http.body);
  RequestFields fields(body);
  check_model(fields, service);
  const ChatPrompt prompt = read_chat_prompt(fields, service);
  fields.finish();
  send_json(response, {{"prompt", prompt.text}, {"tokens", prompt.tokens.size()}});
}

}  // namespace

void add_text_routes(HttpServer& server, Service& service) {
  using Request = HttpRequest;
  using Response = HttpResponse;
  server.post("/tokenize",
              [&](const Request& http, Response& response) { tokenize(service, http, response); });
  server.post("/detokenize",
              [&](const Request& http, Response& response) { detokenize(service, http, response); });
  server.post("/apply-template",
              [&](const Request& http, Response& response) { apply_template(service, http, response); });
}

}  // namespace thinkey::server
