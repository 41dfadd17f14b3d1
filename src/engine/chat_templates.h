// Chat templates that come with thinkey, for models whose file has none.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace thinkey {

// Jinja source; nullopt: none of that name (thinkey/chat.h lists them).
[[nodiscard]] std::optional<std::string> find_chat_template(std::string_view name);

}  // namespace thinkey
