#pragma once

#include <string>

namespace thinkey {

struct ChatMessage {
  std::string role;  // "system", "user" or "assistant"
  std::string content;
};

}  // namespace thinkey
