// JSON lines: one object per line, with errors that name file and line. For .cpp files.
#pragma once

#include <cstddef>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace thinkey::eval {

struct JsonLine {
  nlohmann::ordered_json json;  // an object
  std::filesystem::path path;
  std::size_t number = 0;  // from 1

  // Throws Error(Data) "PATH: line N: REASON".
  [[noreturn]] void fail(std::string_view reason) const;
  // Required fields; fail() when absent or of another type.
  [[nodiscard]] const nlohmann::ordered_json& at(const std::string& key) const;
  [[nodiscard]] std::string text(const std::string& key) const;
  [[nodiscard]] std::vector<std::string> texts(const std::string& key) const;
  // A finite number, or `absent` when there is no such field.
  [[nodiscard]] double real(const std::string& key, double absent) const;
};

// The first `limit` objects of a file; blank lines do not count. Error(Data) when a line is no object, or
// when there is none at all.
[[nodiscard]] std::vector<JsonLine> read_json_lines(
    const std::filesystem::path& path, std::size_t limit = std::numeric_limits<std::size_t>::max());

}  // namespace thinkey::eval
