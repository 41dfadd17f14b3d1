#include "server/api_error.h"

namespace thinkey::server {
namespace {

const char* type_of(int status) {
  switch (status) {
    case 401:
      return "authentication_error";
    case 403:
      return "permission_error";
    case 404:
    case 405:
      return "not_found_error";
    case 429:
      return "rate_limit_error";
    case 503:
      return "unavailable_error";
    default:
      return status >= 500 ? "server_error" : "invalid_request_error";
  }
}

}  // namespace

OrderedJson error_json(int status, const std::string& message, const std::string& param,
                       const std::string& code) {
  OrderedJson error;
  error["message"] = message;
  error["type"] = type_of(status);
  error["param"] = param.empty() ? OrderedJson() : OrderedJson(param);
  error["code"] = code.empty() ? OrderedJson(status) : OrderedJson(code);
  return {{"error", std::move(error)}};
}

}  // namespace thinkey::server
