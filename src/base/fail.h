// Throwing thinkey::Error with a formatted message.
#pragma once

#include <fmt/format.h>

#include <utility>

#include "thinkey/error.h"

namespace thinkey {

template <typename... Args>
[[noreturn]] void fail_data(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(ErrorKind::Data, fmt::format(format, std::forward<Args>(args)...));
}

template <typename... Args>
[[noreturn]] void fail_usage(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(ErrorKind::Usage, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace thinkey
