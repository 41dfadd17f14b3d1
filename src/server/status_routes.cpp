// What the server is and does: /v1/models, /health, /props, /metrics, /slots.
#include <charconv>
#include <utility>

#include "base/parallel.h"
#include "formats/printable.h"
#include "server/generation.h"
#include "server/metrics.h"

namespace thinkey::server {
namespace {

OrderedJson model_json(const Service& service, const std::string& name) {
  return {{"id", name}, {"object", "model"}, {"created", service.started}, {"owned_by", "thinkey"}};
}

OrderedJson conversation_json(const ConversationInfo& info) {
  return {{"id", info.id},       {"cache", info.cache},           {"tokens", info.tokens},
          {"bytes", info.bytes}, {"full_bytes", info.full_bytes}, {"running", info.running}};
}

void props(Service& service, HttpResponse& response) {
  const ModelInfo& info = service.model->info();
  const SchedulerOptions& options = service.scheduler.options();
  const SamplerOptions& s = service.options.sampler;
  OrderedJson out;
  out["model"] = {{"id", service.options.names[0]},    {"name", info.name},
                  {"architecture", info.architecture}, {"layers", info.layers},
                  {"kv_heads", info.kv_heads},         {"head_dim", info.head_dim},
                  {"vocabulary", info.vocabulary},     {"parameters", info.parameters}};
  out["context"] = service.scheduler.context();
  out["default_generation_settings"] = {
      {"max_tokens", options.max_tokens ? OrderedJson(*options.max_tokens) : OrderedJson(-1)},
      {"temperature", as_written(s.temperature)},
      {"top_k", s.top_k},
      {"top_p", as_written(s.top_p)},
      {"min_p", as_written(s.min_p)},
      {"repeat_penalty", as_written(s.repeat_penalty)},
      {"repeat_last_n", s.repeat_last_n},
      {"cache", service.options.cache.to_string()}};
  out["caches"] = OrderedJson::array();
  if (service.options.any_cache) {
    out["caches"].push_back("*");
  } else {
    out["caches"].push_back(service.options.cache.to_string());
    for (const CacheSpec& spec : service.options.caches) out["caches"].push_back(spec.to_string());
  }
  out["kv_memory"] = options.kv_memory;
  out["parallel"] = options.parallel;
  out["queue"] = options.queue;
  out["lookup"] = options.lookup;
  out["threads"] = threads();
  out["version"] = THINKEY_VERSION;
  send_json(response, out);
}

void change_slot(Service& service, const HttpRequest& http, HttpResponse& response) {
  std::uint64_t id = 0;
  const std::string digits = http.matches[1];
  if (std::from_chars(digits.data(), digits.data() + digits.size(), id).ec != std::errc()) {
    refuse("id", "\"{}\" is not a conversation's number", printable(digits, 40));
  }
  const auto given = http.params.find("action");
  const std::string action = given == http.params.end() ? std::string() : given->second;
  if (action != "save" && action != "restore" && action != "erase") {
    refuse("action", "?action= must be save, restore or erase");
  }
  std::string name;
  if (!http.body.empty()) {
    const OrderedJson body = parse_body(http.body);
    RequestFields fields(body);
    name = fields.text("filename").value_or("");
    fields.finish();
  }
  if (action == "erase") {
    service.scheduler.erase(id);
    send_json(response, {{"id", id}, {"erased", true}});
    return;
  }
  if (name.empty()) refuse("filename", "\"filename\" is missing");
  send_json(response, conversation_json(action == "save" ? service.scheduler.save(id, name)
                                                         : service.scheduler.restore(name)));
}

}  // namespace

void add_status_routes(HttpServer& server, Service& service) {
  using Request = HttpRequest;
  using Response = HttpResponse;
  server.get(
      "/health",
      [](const Request&, Response& response) {
        send_json(response, {{"status", "ok"}});
      },
      true);
  server.get("/v1/models", [&](const Request&, Response& response) {
    OrderedJson out = {{"object", "list"}, {"data", OrderedJson::array()}};
    for (const std::string& name : service.options.names) out["data"].push_back(model_json(service, name));
    send_json(response, out);
  });
  server.get("/v1/models/(.+)", [&](const Request& http, Response& response) {
    const std::string name = http.matches[1];
    for (const std::string& known : service.options.names) {
      if (known == name) return send_json(response, model_json(service, name));
    }
    throw ApiError(404, fmt::format("the model \"{}\" is not served here", printable(name, 100)), "model",
                   "model_not_found");
  });
  server.get("/props", [&](const Request&, Response& response) { props(service, response); });
  server.get("/metrics", [&](const Request&, Response& response) {
    response.body = prometheus_text(service.scheduler.status(), server.connections(), server.requests());
    response.content_type = "text/plain; version=0.0.4";
  });
  server.get("/slots", [&](const Request&, Response& response) {
    OrderedJson out = OrderedJson::array();
    for (const ConversationInfo& info : service.scheduler.conversations()) {
      out.push_back(conversation_json(info));
    }
    send_json(response, out);
  });
  server.post("/slots/([0-9]+)",
              [&](const Request& http, Response& response) { change_slot(service, http, response); });
}

}  // namespace thinkey::server
