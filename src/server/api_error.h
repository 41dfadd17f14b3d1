// Errors in the form that OpenAI's clients understand.
#pragma once

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <utility>

namespace thinkey::server {

using OrderedJson = nlohmann::ordered_json;

// What a request is answered with instead of a result.
struct ApiError : std::runtime_error {
  ApiError(int http_status, std::string message, std::string field = {}, std::string error_code = {})
      : std::runtime_error(message),
        status(http_status),
        param(std::move(field)),
        code(std::move(error_code)) {}

  int status;
  std::string param;    // the field that is to blame; empty: none
  std::string code;     // a word for programs; may be empty
  int retry_after = 0;  // seconds; 0: not said
};

template <typename... Args>
[[noreturn]] void refuse(const std::string& param, fmt::format_string<Args...> format, Args&&... args) {
  throw ApiError(400, fmt::format(format, std::forward<Args>(args)...), param);
}

// {"error": {"message", "type", "param", "code"}}
[[nodiscard]] OrderedJson error_json(int status, const std::string& message, const std::string& param = {},
                                     const std::string& code = {});

}  // namespace thinkey::server
