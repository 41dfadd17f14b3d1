#include "server/tls.h"

#include "base/fail.h"

#ifdef THINKEY_TLS
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <climits>
#include <new>
#endif

namespace thinkey::server {

#ifndef THINKEY_TLS

std::unique_ptr<TlsServer> tls_server(const std::string&, const std::string&) {
  fail_usage("this program was built without OpenSSL; let a proxy speak TLS (docs/serving.md)");
}

#else

namespace {

class OpenSslSession final : public TlsSession {
 public:
  OpenSslSession(SSL_CTX* context, int socket) : ssl_(SSL_new(context)) {
    if (ssl_ == nullptr) throw std::bad_alloc();
    ::fcntl(socket, F_SETFL, ::fcntl(socket, F_GETFL) | O_NONBLOCK);
    SSL_set_fd(ssl_, socket);
    SSL_set_accept_state(ssl_);
  }
  ~OpenSslSession() override { SSL_free(ssl_); }
  OpenSslSession(const OpenSslSession&) = delete;
  OpenSslSession& operator=(const OpenSslSession&) = delete;

  ssize_t read(char* to, std::size_t size, Wait& wait) override {
    ERR_clear_error();
    return moved(SSL_read(ssl_, to, bounded(size)), wait);
  }
  ssize_t write(const char* from, std::size_t size, Wait& wait) override {
    ERR_clear_error();
    return moved(SSL_write(ssl_, from, bounded(size)), wait);
  }
  bool open() override {
    char byte = 0;
    Wait wait = Wait::Nothing;
    ERR_clear_error();
    return moved(SSL_peek(ssl_, &byte, 1), wait) > 0 || wait != Wait::Nothing;
  }
  bool pending() const override { return SSL_pending(ssl_) > 0; }
  void end() override {
    ERR_clear_error();
    if (SSL_is_init_finished(ssl_) != 0 && !broken_) SSL_shutdown(ssl_);
  }

 private:
  static int bounded(std::size_t size) { return static_cast<int>(std::min<std::size_t>(size, INT_MAX)); }

  ssize_t moved(int result, Wait& wait) {
    wait = Wait::Nothing;
    if (result > 0) return result;
    switch (SSL_get_error(ssl_, result)) {
      case SSL_ERROR_ZERO_RETURN:
        return 0;
      case SSL_ERROR_WANT_READ:
        wait = Wait::Readable;
        return -1;
      case SSL_ERROR_WANT_WRITE:
        wait = Wait::Writable;
        return -1;
      default:
        broken_ = true;  // SSL_shutdown() must not follow
        return -1;
    }
  }

  SSL* ssl_;
  bool broken_ = false;
};

class OpenSslServer final : public TlsServer {
 public:
  OpenSslServer() : context_(SSL_CTX_new(TLS_server_method())) {
    if (context_ == nullptr) throw std::bad_alloc();
    SSL_CTX_set_min_proto_version(context_, TLS1_2_VERSION);
    SSL_CTX_set_mode(context_, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    // A client may not make a server work by asking for new keys again and again.
    SSL_CTX_set_options(context_, SSL_OP_NO_RENEGOTIATION);
    // A key under a passphrase would be asked for at the terminal.
    SSL_CTX_set_default_passwd_cb(context_, [](char*, int, int, void*) { return 0; });
  }
  ~OpenSslServer() override { SSL_CTX_free(context_); }
  OpenSslServer(const OpenSslServer&) = delete;
  OpenSslServer& operator=(const OpenSslServer&) = delete;

  void load(const std::string& certificate_file, const std::string& key_file) {
    if (SSL_CTX_use_certificate_chain_file(context_, certificate_file.c_str()) != 1) {
      fail_data("{}: no certificate in PEM form can be read there ({})", certificate_file, reason());
    }
    if (SSL_CTX_use_PrivateKey_file(context_, key_file.c_str(), SSL_FILETYPE_PEM) != 1) {
      fail_data("{}: no private key in PEM form that belongs to the certificate can be read there ({})",
                key_file, reason());
    }
    if (SSL_CTX_check_private_key(context_) != 1) {
      fail_data("{}: the key does not belong to the certificate in {}", key_file, certificate_file);
    }
  }

  std::unique_ptr<TlsSession> session(int socket) const override {
    try {
      return std::make_unique<OpenSslSession>(context_, socket);
    } catch (const std::bad_alloc&) {
      return nullptr;
    }
  }

 private:
  static std::string reason() {
    const char* text = ERR_reason_error_string(ERR_peek_last_error());
    ERR_clear_error();
    return text == nullptr ? "unknown reason" : text;
  }

  SSL_CTX* context_;
};

}  // namespace

std::unique_ptr<TlsServer> tls_server(const std::string& certificate_file, const std::string& key_file) {
  auto server = std::make_unique<OpenSslServer>();
  server->load(certificate_file, key_file);
  return server;
}

#endif

}  // namespace thinkey::server
