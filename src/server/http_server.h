// HTTP: connections, each with a thread of its own and a bound on their number, so that slow clients keep
// nobody waiting; what every request is checked for; errors as JSON.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "server/http_message.h"

namespace thinkey::server {

struct ConnectionLimits {
  std::chrono::seconds head{10};   // from a request's first byte to the end of its headers
  std::chrono::seconds body{60};   // to the end of its body
  std::chrono::seconds idle{15};   // between requests, and before the first
  std::chrono::seconds write{60};  // until a piece of the answer is taken
  std::size_t head_bytes = 64 << 10U;
  std::size_t body_bytes = 32 << 20U;
};

struct HttpOptions {
  std::string host = "127.0.0.1";
  int port = 8080;                           // 0: any free one
  std::vector<std::string> api_keys = {};    // none: everybody may
  std::vector<std::string> host_names = {};  // that requests may be addressed to, beside the address itself
  std::size_t connections = 256;             // most at once
  ConnectionLimits limits;
  std::string certificate_file = {}, key_file = {};  // PEM, for HTTPS; none: plain HTTP
  // Called after every answer, if set: method, path, status.
  std::function<void(const std::string&, const std::string&, int)> log = {};
};

class HttpServer {
 public:
  explicit HttpServer(const HttpOptions& options);
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  // `pattern`: a regular expression of the whole path. `open`: needs no key. Bodies of POST must be JSON.
  void get(const std::string& pattern, HttpHandler handler, bool open = false);
  void post(const std::string& pattern, HttpHandler handler);

  // Listens; Error(Data) where the port is taken. Gives the port.
  [[nodiscard]] int bind();
  // Serves until stop_accepting(); returns when all connections are closed.
  void serve();
  // Answers what comes over a socket that is connected already, and closes it; in the calling thread.
  void answer(int socket);
  // Takes no further connections. Any thread.
  void stop_accepting();
  // Connections are closed after the request that they are at.
  void close_idle();
  [[nodiscard]] std::size_t connections() const noexcept;
  [[nodiscard]] std::size_t requests() const noexcept;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace thinkey::server
