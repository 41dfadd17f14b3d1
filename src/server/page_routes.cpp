// The page, and the API's description.
#include <fmt/format.h>

#include <random>
#include <string>
#include <string_view>

#include "server/service.h"

namespace thinkey::server {

extern const std::string_view page_html;     // page/page.html
extern const std::string_view openapi_text;  // page/openapi.json

void add_page_routes(HttpServer& server, Service&) {
  server.get(
      "/",
      [](const HttpRequest&, HttpResponse& response) {
        // Only the page's own script runs, whatever a model writes into it.
        std::random_device random;
        std::string nonce;
        for (int i = 0; i < 4; ++i) nonce += fmt::format("{:08x}", random());
        std::string page(page_html);
        constexpr std::string_view kPlace = "nonce=\"NONCE\"";
        for (std::size_t at = page.find(kPlace); at != std::string::npos; at = page.find(kPlace, at)) {
          page.replace(at, kPlace.size(), "nonce=\"" + nonce + "\"");
        }
        response.headers = {
            {"Content-Security-Policy",
             fmt::format(
                 "default-src 'none'; connect-src 'self'; img-src data:; script-src 'nonce-{0}'; style-src "
                 "'nonce-{0}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
                 nonce)},
            {"Referrer-Policy", "no-referrer"},
            {"Cache-Control", "no-store"}};
        response.body = std::move(page);
        response.content_type = "text/html; charset=utf-8";
      },
      true);
  server.get("/openapi.json", [](const HttpRequest&, HttpResponse& response) {
    response.body = openapi_text;
    response.content_type = "application/json";
  });
}

}  // namespace thinkey::server
