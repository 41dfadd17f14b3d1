#include "server/connection.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace thinkey::server {
namespace {

thread_local const Connection* answering = nullptr;

void describe(const sockaddr_storage& address, std::string& ip, int& port) {
  char text[INET6_ADDRSTRLEN] = {};
  if (address.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(address);
    inet_ntop(AF_INET, &v4.sin_addr, text, sizeof(text));
    port = ntohs(v4.sin_port);
  } else if (address.ss_family == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address);
    inet_ntop(AF_INET6, &v6.sin6_addr, text, sizeof(text));
    port = ntohs(v6.sin6_port);
  }
  ip = text;
}

}  // namespace

Connection::Connection(socket_t socket, const ConnectionLimits& limits, std::unique_ptr<TlsSession> tls)
    : socket_(socket), limits_(limits), tls_(std::move(tls)) {
  answering = this;
}

Connection::~Connection() { answering = nullptr; }

const Connection* Connection::current() noexcept { return answering; }

bool Connection::wait(short events, Clock::duration& patience) const {
  constexpr Clock::duration kLongest = std::chrono::seconds(1);
  for (;;) {
    const Clock::duration most = std::clamp(patience, Clock::duration::zero(), kLongest);
    const auto start = Clock::now();
    pollfd poll_{.fd = socket_, .events = events, .revents = 0};
    const int ready =
        ::poll(&poll_, 1, static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(most).count()));
    patience -= std::min(Clock::now() - start, most);
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) return false;
    if (patience <= Clock::duration::zero()) return false;
  }
}

bool Connection::wait_for_request(const std::atomic<bool>& stopping) {
  Clock::duration idle = limits_.idle;
  while (!has_bytes()) {
    if (stopping.load()) return false;
    const Clock::duration tick = std::min<Clock::duration>(idle, std::chrono::milliseconds(100));
    Clock::duration rest = tick;
    if (wait(POLLIN, rest)) break;
    idle -= tick;
    if (idle <= Clock::duration::zero()) return false;
  }
  in_head_ = true;
  read_ = 0;
  line_ends_ = 0;
  patience_ = limits_.head;
  return alive();
}

// Follows where the head ends, so that head and body have limits of their own.
void Connection::note(const char* bytes, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) {
    ++read_;
    if (!in_head_) continue;
    if (bytes[i] == '\n') {
      ++line_ends_;
    } else if (bytes[i] != '\r') {
      line_ends_ = 0;
    }
    if (line_ends_ == 2) {
      in_head_ = false;
      read_ = 0;
      patience_ = limits_.body;
    }
  }
}

bool Connection::wait_for(TlsSession::Wait what, Clock::duration& patience) const {
  return what != TlsSession::Wait::Nothing &&
         wait(what == TlsSession::Wait::Readable ? POLLIN : POLLOUT, patience);
}

// The buffer holds a whole TLS record, so that nothing is left where poll() does not see it.
ssize_t Connection::receive() {
  if (!tls_) return wait(POLLIN, patience_) ? ::recv(socket_, buffer_, sizeof(buffer_), 0) : -1;
  TlsSession::Wait what = TlsSession::Wait::Nothing;
  ssize_t n = -1;
  do {
    n = tls_->read(buffer_, sizeof(buffer_), what);
  } while (n < 0 && wait_for(what, patience_));
  return n;
}

ssize_t Connection::read(char* to, std::size_t size) {
  // A body without a stated length could go on for ever; some of one that is refused is skipped.
  const std::size_t most = in_head_ ? limits_.head_bytes : 2 * limits_.body_bytes + (std::size_t{1} << 20U);
  if (read_ >= most) return -1;
  if (begin_ == end_) {
    const ssize_t n = receive();
    if (n <= 0) return n;
    begin_ = 0;
    end_ = static_cast<std::size_t>(n);
  }
  const std::size_t n = std::min(size, end_ - begin_);
  std::copy_n(buffer_ + begin_, n, to);
  begin_ += n;
  note(to, n);
  return static_cast<ssize_t>(n);
}

ssize_t Connection::write(const char* from, std::size_t size) {
  Clock::duration patience = limits_.write;
  std::size_t sent = 0;
  while (sent < size) {
    if (tls_) {
      TlsSession::Wait what = TlsSession::Wait::Nothing;
      const ssize_t n = tls_->write(from + sent, size - sent, what);
      if (n <= 0 && !wait_for(what, patience)) return -1;
      if (n > 0) sent += static_cast<std::size_t>(n);
      continue;
    }
    if (!wait(POLLOUT, patience)) return -1;
    const ssize_t n = ::send(socket_, from + sent, size - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno != EAGAIN && errno != EINTR) return -1;
    if (n > 0) sent += static_cast<std::size_t>(n);
  }
  return static_cast<ssize_t>(sent);
}

bool Connection::alive() const {
  if (has_bytes()) return true;
  pollfd poll_{.fd = socket_, .events = POLLIN, .revents = 0};
  if (::poll(&poll_, 1, 0) <= 0) return true;  // nothing new
  if ((poll_.revents & (POLLERR | POLLHUP | POLLNVAL)) != 0) return false;
  if (tls_) return tls_->open();
  char byte = 0;
  return ::recv(socket_, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

void Connection::end() {
  if (tls_) tls_->end();
}

bool Connection::is_readable() const { return has_bytes() || wait(POLLIN, patience_); }

bool Connection::is_writable() const {
  Clock::duration patience = limits_.write;
  return alive() && wait(POLLOUT, patience);
}

void Connection::get_remote_ip_and_port(std::string& ip, int& port) const {
  sockaddr_storage address{};
  socklen_t size = sizeof(address);
  if (::getpeername(socket_, reinterpret_cast<sockaddr*>(&address), &size) == 0) describe(address, ip, port);
}

void Connection::get_local_ip_and_port(std::string& ip, int& port) const {
  sockaddr_storage address{};
  socklen_t size = sizeof(address);
  if (::getsockname(socket_, reinterpret_cast<sockaddr*>(&address), &size) == 0) describe(address, ip, port);
}

}  // namespace thinkey::server
