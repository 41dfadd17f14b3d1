#include "server/sse.h"

#include <exception>
#include <utility>

#include "server/generation.h"

namespace thinkey::server {
namespace {

std::string dump(const OrderedJson& json) {
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

OrderedJson error_event(const std::exception& error, bool named) {
  int status = 500;
  std::string param;
  std::string code;
  if (const auto* api = dynamic_cast<const ApiError*>(&error)) {
    status = api->status;
    param = api->param;
    code = api->code;
  }
  OrderedJson json = error_json(status, error.what(), param, code);
  if (!named) return json;
  OrderedJson event = {{"type", "error"}};
  for (auto& [key, value] : json["error"].items()) {
    if (key != "type") event[key] = value;
  }
  return event;
}

class Stream : public BodySource {
 public:
  explicit Stream(std::shared_ptr<EventSource> source) : source_(std::move(source)) {}

  bool next(const std::function<bool(const std::string&)>& write) override {
    const auto send = [&](const OrderedJson& json) {
      std::string text;
      if (source_->named()) text = "event: " + json.value("type", "message") + "\n";
      write(text + "data: " + dump(json) + "\n\n");
    };
    try {
      if (source_->next(send)) return true;
    } catch (const Disconnected&) {
      return false;
    } catch (const std::exception& error) {
      send(error_event(error, source_->named()));
    }
    if (!source_->named()) write("data: [DONE]\n\n");
    return false;
  }

 private:
  std::shared_ptr<EventSource> source_;
};

}  // namespace

void send_stream(HttpResponse& response, std::shared_ptr<EventSource> source) {
  response.headers = {{"Cache-Control", "no-cache"}, {"X-Accel-Buffering", "no"}};  // nginx passes events on
  response.content_type = "text/event-stream";
  response.source = std::make_shared<Stream>(std::move(source));
}

}  // namespace thinkey::server
