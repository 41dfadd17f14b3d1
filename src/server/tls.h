// TLS of the server's connections, through OpenSSL where it was there when this was built.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <memory>
#include <string>

namespace thinkey::server {

// Of one connection, whose socket it makes non-blocking. The handshake happens with the first bytes.
class TlsSession {
 public:
  // What a call that could not finish waits for.
  enum class Wait : unsigned char { Nothing, Readable, Writable };

  virtual ~TlsSession() = default;
  // As recv() and send(): bytes moved; 0 when the client has ended the connection; -1 when it broke, or when
  // `wait` says what to wait for before the same call is made again.
  virtual ssize_t read(char* to, std::size_t size, Wait& wait) = 0;
  virtual ssize_t write(const char* from, std::size_t size, Wait& wait) = 0;
  // False when the client has ended the connection; takes nothing of what it sent.
  [[nodiscard]] virtual bool open() = 0;
  // Whether bytes have been taken from the socket, where poll() saw them, that read() has not given yet.
  [[nodiscard]] virtual bool pending() const = 0;
  // Says that nothing follows.
  virtual void end() = 0;
};

// The server's certificate; sessions may be made in any thread and must not outlive it.
class TlsServer {
 public:
  virtual ~TlsServer() = default;
  // Null when memory is short.
  [[nodiscard]] virtual std::unique_ptr<TlsSession> session(int socket) const = 0;
};

// From PEM files: the certificate with its chain, and its private key. Error(Data) that names the file when
// one cannot be used; Error(Usage) where this program was built without OpenSSL.
[[nodiscard]] std::unique_ptr<TlsServer> tls_server(const std::string& certificate_file,
                                                    const std::string& key_file);

}  // namespace thinkey::server
