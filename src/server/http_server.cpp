#include "server/http_server.h"

#include <httplib.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <regex>
#include <set>
#include <string_view>
#include <thread>
#include <utility>

#include "base/fail.h"
#include "server/api_error.h"
#include "server/connection.h"
#include "server/tls.h"

namespace thinkey::server {
namespace {

constexpr int kBacklog = 512;
constexpr std::size_t kMostRequestsPerConnection = 10000;

thread_local bool too_many_connections = false;

// Takes as long for every key of the same length.
bool same_key(std::string_view given, std::string_view key) noexcept {
  unsigned difference = given.size() == key.size() ? 0U : 1U;
  for (std::size_t i = 0; i < given.size(); ++i) {
    const char expected = key.empty() ? '\0' : key[i % key.size()];
    difference |= static_cast<unsigned char>(given[i]) ^ static_cast<unsigned char>(expected);
  }
  return difference == 0;
}

bool is_loopback(std::string_view host) {
  return host == "localhost" || host == "::1" || host.starts_with("127.");
}

// "example.org:8080" and "[::1]:8080" without the port.
std::string_view without_port(std::string_view host) {
  if (host.starts_with('[')) {
    const std::size_t end = host.find(']');
    return end == std::string_view::npos ? host : host.substr(1, end - 1);
  }
  return host.substr(0, host.find(':'));
}

void send_json(httplib::Response& response, const OrderedJson& json, int status) {
  HttpResponse plain;
  thinkey::server::send_json(plain, json, status);
  response.status = plain.status;
  response.set_content(plain.body, plain.content_type);
}

void answer_exception(httplib::Response& response, const std::exception_ptr& exception) {
  try {
    std::rethrow_exception(exception);
  } catch (const ApiError& error) {
    if (error.retry_after > 0) response.set_header("Retry-After", std::to_string(error.retry_after));
    send_json(response, error_json(error.status, error.what(), error.param, error.code), error.status);
  } catch (const Error& error) {
    const int status = error.kind() == ErrorKind::Usage ? 400 : 500;
    send_json(response, error_json(status, error.what()), status);
  } catch (const Disconnected&) {
    response.status = 499;  // nginx's number for it; nobody reads it but the log
  } catch (const std::bad_alloc&) {
    send_json(response, error_json(503, "out of memory"), 503);
  } catch (const std::exception& error) {
    send_json(response, error_json(500, std::string("internal error: ") + error.what()), 500);
  }
}

// A thread for every connection; what is too many is turned away by the accepting thread.
class Threads : public httplib::TaskQueue {
 public:
  Threads(std::size_t most, std::atomic<std::size_t>& open) : most_(most), open_(open) {}

  void enqueue(std::function<void()> connection) override {
    if (open_.load() >= most_) {
      too_many_connections = true;
      connection();
      too_many_connections = false;
      return;
    }
    open_.fetch_add(1);
    const auto body = [this, connection = std::move(connection)] {
      connection();
      const std::scoped_lock lock(mutex_);
      open_.fetch_sub(1);
      ended_.notify_all();
    };
    try {
      std::thread(body).detach();
    } catch (const std::system_error&) {
      body();
    }
  }
  void shutdown() override {
    std::unique_lock lock(mutex_);
    ended_.wait(lock, [&] { return open_.load() == 0; });
  }

 private:
  std::size_t most_;
  std::atomic<std::size_t>& open_;
  std::mutex mutex_;
  std::condition_variable ended_;
};

// Hands a handler's answer to the library.
void deliver(HttpResponse&& from, httplib::Response& to) {
  to.status = from.status;
  for (const auto& [name, value] : from.headers) to.set_header(name, value);
  if (!from.source) {
    to.set_content(from.body, from.content_type);
    return;
  }
  to.set_chunked_content_provider(from.content_type,
                                  [source = std::move(from.source)](std::size_t, httplib::DataSink& sink) {
                                    bool open = true;
                                    const bool more = source->next([&](const std::string& text) {
                                      open = open && sink.write(text.data(), text.size());
                                      return open;
                                    });
                                    if (open && !more) sink.done();
                                    return open;
                                  });
}

}  // namespace

void send_json(HttpResponse& response, const nlohmann::ordered_json& json, int status) {
  response.status = status;
  response.body = json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  response.content_type = "application/json";
}

bool client_is_there() {
  const Connection* connection = Connection::current();
  return connection == nullptr || connection->alive();
}

class HttpServer::Impl : public httplib::Server {
 public:
  explicit Impl(const HttpOptions& options);

  void route(const char* method, const std::string& pattern, HttpHandler handler, bool open);
  [[nodiscard]] int bind();
  void answer(socket_t socket) { process_and_close_socket(socket); }
  // Not stop(), which also breaks off streams that are under way.
  void stop_accepting() { ::shutdown(svr_sock_, SHUT_RDWR); }
  void close_idle() noexcept { stopping_.store(true); }
  [[nodiscard]] std::size_t connections() const noexcept { return open_.load(); }
  [[nodiscard]] std::size_t requests() const noexcept { return requests_.load(); }

 private:
  struct Route {
    std::string pattern;
    std::regex regex;
    std::set<std::string> methods;
    bool open = false;
  };

  bool process_and_close_socket(socket_t socket) override;
  // Whether the request may go on; else it has been answered.
  [[nodiscard]] bool admitted(const httplib::Request& request, httplib::Response& response) const;
  [[nodiscard]] bool has_key(const httplib::Request& request) const;
  [[nodiscard]] bool is_addressed(const httplib::Request& request) const;

  HttpOptions options_;
  std::unique_ptr<TlsServer> tls_;
  std::vector<Route> routes_;
  std::atomic<bool> stopping_{false};
  std::atomic<std::size_t> open_{0};
  std::atomic<std::size_t> requests_{0};
};

HttpServer::Impl::Impl(const HttpOptions& options) : options_(options) {
  if (!options.certificate_file.empty()) tls_ = tls_server(options.certificate_file, options.key_file);
  new_task_queue = [this] { return new Threads(options_.connections, open_); };
  set_payload_max_length(options_.limits.body_bytes);
  set_keep_alive_max_count(kMostRequestsPerConnection);
  set_default_headers({{"Server", "thinkey"}, {"X-Content-Type-Options", "nosniff"}});
  set_pre_routing_handler([this](const httplib::Request& request, httplib::Response& response) {
    requests_.fetch_add(1);
    return admitted(request, response) ? HandlerResponse::Unhandled : HandlerResponse::Handled;
  });
  set_exception_handler([](const httplib::Request&, httplib::Response& response,
                           const std::exception_ptr& exception) { answer_exception(response, exception); });
  // What the library itself refuses has no body.
  set_error_handler(httplib::Server::Handler([](const httplib::Request&, httplib::Response& response) {
    if (!response.body.empty()) return;
    const int status = response.status;
    const char* message = status == 404   ? "there is no such path"
                          : status == 413 ? "the body is larger than this server takes"
                          : status == 414 ? "the address is too long"
                                          : "the request is not well-formed HTTP";
    send_json(response, error_json(status, message), status);
  }));
  set_logger([this](const httplib::Request& request, const httplib::Response& response) {
    if (options_.log) options_.log(request.method, request.path, response.status);
  });
}

void HttpServer::Impl::route(const char* method, const std::string& pattern, HttpHandler handler, bool open) {
  auto known =
      std::find_if(routes_.begin(), routes_.end(), [&](const Route& r) { return r.pattern == pattern; });
  if (known == routes_.end()) {
    routes_.push_back({.pattern = pattern, .regex = std::regex(pattern), .methods = {}, .open = open});
    known = routes_.end() - 1;
  }
  known->methods.insert(method);
  const auto adapted = [handler = std::move(handler)](const httplib::Request& request,
                                                      httplib::Response& response) {
    HttpRequest from{
        .method = request.method, .path = request.path, .body = request.body, .matches = {}, .params = {}};
    for (const auto& match : request.matches) from.matches.push_back(match.str());
    for (const auto& [name, value] : request.params) from.params.emplace(name, value);
    HttpResponse answer;
    handler(from, answer);
    deliver(std::move(answer), response);
  };
  if (std::string_view(method) == "GET") {
    Get(pattern, adapted);
  } else {
    Post(pattern, adapted);
  }
}

bool HttpServer::Impl::has_key(const httplib::Request& request) const {
  if (options_.api_keys.empty()) return true;
  std::string given = request.get_header_value("Authorization");
  constexpr std::string_view kBearer = "Bearer ";
  given = given.starts_with(kBearer) ? given.substr(kBearer.size()) : request.get_header_value("X-Api-Key");
  bool known = false;
  for (const std::string& key : options_.api_keys) known |= same_key(given, key);
  return known;
}

// A page of another site that a browser on this machine shows can send requests here under that site's name
// (DNS rebinding); without a key nothing else keeps it out.
bool HttpServer::Impl::is_addressed(const httplib::Request& request) const {
  if (!options_.api_keys.empty() || !is_loopback(options_.host)) return true;
  const std::string host = request.get_header_value("Host");
  const std::string_view name = without_port(host);
  return name.empty() || is_loopback(name) ||
         std::find(options_.host_names.begin(), options_.host_names.end(), name) != options_.host_names.end();
}

bool HttpServer::Impl::admitted(const httplib::Request& request, httplib::Response& response) const {
  const auto answer = [&](int status, const std::string& message) {
    send_json(response, error_json(status, message), status);
    return false;
  };
  if (!is_addressed(request)) {
    return answer(403,
                  "this server is for this machine; it does not answer to that host name (see --allow-host)");
  }
  const auto route = std::find_if(routes_.begin(), routes_.end(),
                                  [&](const Route& r) { return std::regex_match(request.path, r.regex); });
  if (route == routes_.end()) return answer(404, "there is no such path");
  const std::string method = request.method == "HEAD" ? "GET" : request.method;
  if (!route->methods.contains(method)) {
    std::string allowed;
    for (const std::string& known : route->methods) allowed += (allowed.empty() ? "" : ", ") + known;
    response.set_header("Allow", allowed);
    return answer(405, "the path does not take that method");
  }
  if (!route->open && !has_key(request)) {
    response.set_header("WWW-Authenticate", "Bearer");
    return answer(401, "the API key is missing or wrong");
  }
  if (method == "POST") {
    const std::string type = request.get_header_value("Content-Type");
    const std::string_view media = std::string_view(type).substr(0, type.find(';'));
    // Other types are what a foreign page's form may send without asking.
    if (media != "application/json") return answer(415, "Content-Type must be application/json");
  }
  return true;
}

int HttpServer::Impl::bind() {
  set_socket_options([](socket_t socket) {
    const int yes = 1;
    ::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
  });
  set_tcp_nodelay(true);
  int port = options_.port;
  if (port == 0) {
    port = bind_to_any_port(options_.host);
  } else if (!bind_to_port(options_.host, port)) {
    port = -1;
  }
  if (port < 0) {
    fail_data(
        "cannot listen on {} port {}; another program may have it, or the address is not this machine's",
        options_.host, options_.port);
  }
  // The library's own backlog is 5, which a burst of clients overflows.
  ::listen(svr_sock_, kBacklog);
  return port;
}

bool HttpServer::Impl::process_and_close_socket(socket_t socket) {
  if (too_many_connections) {
    constexpr std::string_view kAnswer =
        "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\nContent-Length: "
        "0\r\n\r\n";
    // In the middle of a handshake it would only look broken.
    if (!tls_) static_cast<void>(::send(socket, kAnswer.data(), kAnswer.size(), MSG_NOSIGNAL | MSG_DONTWAIT));
  } else {
    std::unique_ptr<TlsSession> tls = tls_ ? tls_->session(socket) : nullptr;
    const bool usable = !tls_ || tls;
    Connection connection(socket, options_.limits, std::move(tls));
    for (std::size_t left = usable ? kMostRequestsPerConnection : 0; left > 0; --left) {
      if (!connection.wait_for_request(stopping_)) break;
      bool closed = false;
      const bool last = left == 1 || stopping_.load();
      if (!process_request(connection, last, closed, [](httplib::Request&) {}) || closed || last) break;
    }
    connection.end();
    // What the client still sends would make the system discard an answer that it has not read yet.
    ::shutdown(socket, SHUT_WR);
    char rest[4096];
    for (int i = 0; i < 64 && ::recv(socket, rest, sizeof(rest), MSG_DONTWAIT) > 0; ++i) {
    }
  }
  ::shutdown(socket, SHUT_RDWR);
  ::close(socket);
  return true;
}

HttpServer::HttpServer(const HttpOptions& options) : impl_(std::make_unique<Impl>(options)) {}
HttpServer::~HttpServer() = default;
void HttpServer::get(const std::string& pattern, HttpHandler handler, bool open) {
  impl_->route("GET", pattern, std::move(handler), open);
}
void HttpServer::post(const std::string& pattern, HttpHandler handler) {
  impl_->route("POST", pattern, std::move(handler), false);
}
int HttpServer::bind() { return impl_->bind(); }
void HttpServer::serve() { impl_->listen_after_bind(); }
void HttpServer::answer(int socket) { impl_->answer(socket); }
void HttpServer::stop_accepting() { impl_->stop_accepting(); }
void HttpServer::close_idle() { impl_->close_idle(); }
std::size_t HttpServer::connections() const noexcept { return impl_->connections(); }
std::size_t HttpServer::requests() const noexcept { return impl_->requests(); }

}  // namespace thinkey::server
