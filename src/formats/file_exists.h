// A question that std::filesystem answers with exceptions of its own.
#pragma once

#include <filesystem>
#include <system_error>

#include "base/fail.h"

namespace thinkey {

// Throws Error(Data) when the system does not let us know.
[[nodiscard]] inline bool file_exists(const std::filesystem::path& path) {
  std::error_code error;
  const bool exists = std::filesystem::exists(path, error);
  if (error) fail_data("{}: cannot open: {}", path.string(), error.message());
  return exists;
}

}  // namespace thinkey
