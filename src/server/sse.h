// Server-sent events: JSON objects as they come, then [DONE].
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "server/api_error.h"
#include "server/http_message.h"

namespace thinkey::server {

// Produces what a stream sends. Each call of next() may wait; it gives the next events as objects, and none
// when the stream has ended. An object with "event" set by named() gets an event line.
class EventSource {
 public:
  virtual ~EventSource() = default;
  // False when that was the last. What it throws becomes the stream's last event.
  virtual bool next(const std::function<void(const OrderedJson&)>& send) = 0;
  // OpenAI's newer API names events by their "type" and has no [DONE].
  [[nodiscard]] virtual bool named() const { return false; }
};

void send_stream(HttpResponse& response, std::shared_ptr<EventSource> source);

}  // namespace thinkey::server
