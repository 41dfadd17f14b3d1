// What a client sends: the bytes of a connection as they are, or a JSON body for one of the paths. The server
// is whole but for its scheduler, which turns every answer away just before it would be computed.
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <memory>
#include <string>
#include <string_view>

#include "base/parallel.h"
#include "fuzz_input.h"
#include "server/http_server.h"
#include "server/service.h"
#include "thinkey/model.h"

namespace thinkey::fuzz {
namespace {

constexpr std::array<std::string_view, 7> kPaths = {
    "/v1/chat/completions", "/v1/completions", "/v1/responses",          "/tokenize",
    "/detokenize",          "/apply-template", "/slots/1?action=restore"};
// One for each form of tool calls.
constexpr std::array<const char*, 5> kTemplates = {
    "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}",
    "{{ tools | tojson }}<tool_call>{% for m in messages %}{{ m.role }}: {{ m.content }}{{ m.tool_calls }}\n"
    "{% endfor %}",
    "<|python_tag|>{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}",
    "[TOOL_CALLS]{% for m in messages %}{{ m.content }}{% for c in m.tool_calls %}{{ c.function.name }}{% "
    "endfor %}"
    "{% endfor %}",
    "<|channel|><|message|>{% for m in messages %}{{ m.content }}{% endfor %}"};

class Server {
 public:
  Server()
      : model_(Model::load(THINKEY_MODELS "/thinkey-needle.gguf", {.threads = 1})),
        scheduler_(model_, {.context = 4096, .kv_memory = 64U << 20U}),
        service_{.model = model_, .scheduler = scheduler_, .options = {.names = {"m"}, .seeded = true}},
        http_(options()) {
    scheduler_.drain(0);  // refuses what it would have to compute
    server::add_chat_routes(http_, service_);
    server::add_completion_routes(http_, service_);
    server::add_responses_routes(http_, service_);
    server::add_text_routes(http_, service_);
    server::add_status_routes(http_, service_);
    server::add_page_routes(http_, service_);
  }

  void use_template(const char* source) { service_.options.chat.template_source = source; }

  // What the server sends back. `whole`: nothing follows these bytes.
  std::string answer(std::string_view bytes, bool whole) {
    std::array<int, 2> ends{};
    FUZZ_REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) == 0);
    FUZZ_REQUIRE(::send(ends[0], bytes.data(), bytes.size(), MSG_DONTWAIT) ==
                 static_cast<ssize_t>(bytes.size()));
    if (whole) ::shutdown(ends[0], SHUT_WR);
    http_.answer(ends[1]);
    std::string out;
    for (ssize_t n = 1; n > 0;) {
      char block[16384];
      n = ::recv(ends[0], block, sizeof(block), MSG_DONTWAIT);
      if (n > 0) out.append(block, static_cast<std::size_t>(n));
    }
    ::close(ends[0]);
    return out;
  }

 private:
  static server::HttpOptions options() {
    server::HttpOptions out;
    // Whatever the machine does meanwhile; but nobody reads while an answer is written, so that waiting for
    // room in the socket would be in vain.
    out.limits.head = out.limits.body = out.limits.idle = std::chrono::seconds(3600);
    out.limits.write = std::chrono::seconds(0);
    return out;
  }

  std::shared_ptr<const Model> model_;
  Scheduler scheduler_;
  server::Service service_;
  server::HttpServer http_;
};

}  // namespace
}  // namespace thinkey::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace thinkey;
  fuzz::use_one_thread();
  static auto& server = *new fuzz::Server;  // its threads run until the process ends
  if (size < 1 || size > 4096) return 0;
  const std::string_view rest = fuzz::text_of(data + 1, size - 1);
  const std::size_t kind = data[0] % (fuzz::kPaths.size() + 1);
  server.use_template(fuzz::kTemplates[data[0] / 16 % fuzz::kTemplates.size()]);
  if (kind == fuzz::kPaths.size()) {
    const std::string answer = server.answer(rest, true);
    FUZZ_REQUIRE(answer.empty() || answer.starts_with("HTTP/1.1 "));
    return 0;
  }
  std::string request =
      "POST " + std::string(fuzz::kPaths[kind]) +
      " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n"
      "Content-Length: " +
      std::to_string(rest.size()) + "\r\n\r\n";
  request += rest;
  const std::string answer = server.answer(request, false);
  FUZZ_REQUIRE(answer.starts_with("HTTP/1.1 "));
  FUZZ_REQUIRE(!answer.starts_with("HTTP/1.1 500"));  // a client cannot cause an internal error
  return 0;
}
