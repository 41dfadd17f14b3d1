// A request and its answer as handlers see them, whatever speaks HTTP.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace thinkey::server {

struct HttpRequest {
  std::string method, path, body;
  std::vector<std::string> matches;           // of the route's pattern: all, then its groups
  std::map<std::string, std::string> params;  // behind the question mark
};

// What an answer sends bit by bit. Each call of next() may wait for more.
class BodySource {
 public:
  virtual ~BodySource() = default;
  // Writes through `write`, which says false when the client takes no more. Done when it returns false.
  virtual bool next(const std::function<bool(const std::string&)>& write) = 0;
};

struct HttpResponse {
  int status = 200;
  std::string content_type, body;
  std::vector<std::pair<std::string, std::string>> headers;
  std::shared_ptr<BodySource> source;  // instead of a body
};

using HttpHandler = std::function<void(const HttpRequest&, HttpResponse&)>;

void send_json(HttpResponse& response, const nlohmann::ordered_json& json, int status = 200);
// The client has gone: nothing need be answered.
struct Disconnected : std::runtime_error {
  Disconnected() : std::runtime_error("the client has gone") {}
};

// Whether the client whose request the calling thread answers is still there.
[[nodiscard]] bool client_is_there();

}  // namespace thinkey::server
