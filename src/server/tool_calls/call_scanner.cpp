#include "server/tool_calls/call_scanner.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

namespace thinkey::server {
namespace {

bool is_space(char c) noexcept { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }
bool holds_arguments(std::string_view key) noexcept { return key == "arguments" || key == "parameters"; }

std::string decoded(const std::string& quoted) {
  const auto json = nlohmann::json::parse(quoted, nullptr, false);
  return json.is_string() ? json.get<std::string>() : std::string();
}

}  // namespace

std::size_t CallScanner::push(std::string_view text) {
  std::size_t i = 0;
  while (i < text.size() && !done_ && !failed_) take(text[i++]);
  return i;
}

void CallScanner::end_string() {
  if (depth_ != 1) return;
  if (!value_) {
    key_ = decoded(string_);
    // Some write "type": "function" or an "id" as well.
    if (!holds_arguments(key_) && key_ != "name" && key_ != "type" && key_ != "id") failed_ = true;
    // What has been said may have been passed on: of two the first one counts.
    if (holds_arguments(key_) && std::exchange(has_arguments_, true)) key_ = "id";
  } else if (key_ == "name" && name_.empty()) {
    name_ = decoded(string_);
    failed_ = name_.empty();
  } else if (holds_arguments(key_)) {
    arguments_ += decoded(string_);  // JSON as a string
  }
}

void CallScanner::take(char c) {
  raw_ += c;
  if (depth_ == 0) {
    if (is_space(c)) return;
    failed_ = c != '{';
    depth_ = 1;
    return;
  }
  const bool streams = depth_ >= 2 && holds_arguments(key_);
  if (in_string_) {
    string_ += c;
    if (streams) arguments_ += c;
    if (escaped_) {
      escaped_ = false;
    } else if (c == '\\') {
      escaped_ = true;
    } else if (c == '"') {
      in_string_ = false;
      end_string();
    }
    return;
  }
  switch (c) {
    case '"':
      in_string_ = true;
      string_ = c;
      break;
    case '{':
    case '[':
      ++depth_;
      break;
    case '}':
    case ']':
      --depth_;
      break;
    case ':':
      if (depth_ == 1) value_ = true;
      break;
    case ',':
      if (depth_ == 1) {
        value_ = false;
        key_.clear();
      }
      break;
    default:
      break;
  }
  if (streams || (depth_ >= 2 && holds_arguments(key_))) arguments_ += c;
  if (depth_ == 0) {
    done_ = true;
    failed_ = name_.empty();
  }
}

std::string CallScanner::take_arguments() {
  if (name_.empty()) return {};
  return std::exchange(arguments_, {});
}

std::size_t ValueScanner::push(std::string_view text) {
  std::size_t i = 0;
  while (i < text.size() && !done_) {
    const char c = text[i++];
    if (in_string_) {
      if (escaped_) {
        escaped_ = false;
      } else if (c == '\\') {
        escaped_ = true;
      } else if (c == '"') {
        in_string_ = false;
      }
      continue;
    }
    if (c == '"') in_string_ = true;
    if (c == '{' || c == '[') ++depth_;
    if (c == '}' || c == ']') done_ = --depth_ <= 0;
  }
  return i;
}

std::size_t find_marker(std::string_view text, std::string_view marker, bool& whole) {
  const std::size_t at = text.find(marker);
  whole = at != std::string_view::npos;
  if (whole) return at;
  for (std::size_t n = std::min(marker.size() - 1, text.size()); n > 0; --n) {
    if (text.ends_with(marker.substr(0, n))) return text.size() - n;
  }
  return std::string_view::npos;
}

}  // namespace thinkey::server
