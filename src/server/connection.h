// One client's connection: buffered, with deadlines that no trickle of bytes can put off.
#pragma once

#include <httplib.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <string>

#include "server/http_server.h"
#include "server/tls.h"

namespace thinkey::server {

class Connection : public httplib::Stream {
 public:
  // `tls`: null for plain HTTP.
  Connection(socket_t socket, const ConnectionLimits& limits, std::unique_ptr<TlsSession> tls = nullptr);
  ~Connection() override;
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Waits for a request's first byte; false when none came in time, the client has gone, or `stopping` is
  // set.
  [[nodiscard]] bool wait_for_request(const std::atomic<bool>& stopping);

  [[nodiscard]] bool is_readable() const override;
  [[nodiscard]] bool is_writable() const override;
  ssize_t read(char* to, std::size_t size) override;
  ssize_t write(const char* from, std::size_t size) override;
  void get_remote_ip_and_port(std::string& ip, int& port) const override;
  void get_local_ip_and_port(std::string& ip, int& port) const override;
  [[nodiscard]] socket_t socket() const override { return socket_; }

  // Whether the client is still there; what it may have sent stays to be read.
  [[nodiscard]] bool alive() const;

  // Says that nothing follows, where TLS has words for it.
  void end();

  // The connection whose request the calling thread answers; null: none.
  [[nodiscard]] static const Connection* current() noexcept;

 private:
  using Clock = std::chrono::steady_clock;
  // Until the client is ready for `events`; false when `patience`, of which only time spent waiting here is
  // taken, is at its end: a machine that is busy or was asleep is not the client's fault.
  [[nodiscard]] bool wait(short events, Clock::duration& patience) const;
  [[nodiscard]] bool has_bytes() const { return begin_ < end_ || (tls_ && tls_->pending()); }
  [[nodiscard]] bool wait_for(TlsSession::Wait what, Clock::duration& patience) const;
  ssize_t receive();  // into the buffer, which is empty
  void note(const char* bytes, std::size_t n);

  socket_t socket_;
  ConnectionLimits limits_;
  std::unique_ptr<TlsSession> tls_;
  char buffer_[16 << 10U];
  std::size_t begin_ = 0, end_ = 0;  // unread bytes of the buffer
  // Left for what is being read; asking whether there is something to read takes of it, too.
  mutable Clock::duration patience_{};
  bool in_head_ = true;
  std::size_t read_ = 0;  // bytes of this request's head or body
  int line_ends_ = 0;     // "\r\n\r\n" so far
};

}  // namespace thinkey::server
