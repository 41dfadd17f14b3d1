// JSON from model files: parsed within limits, and read with errors that name file and key.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace thinkey {

using Json = nlohmann::json;

// Parses `text`. Throws Error(Data) naming `path` and `what` ("header", "file") for malformed text,
// more than `max_depth` nested brackets, or a key that occurs twice in one object.
[[nodiscard]] Json parse_json(std::string_view text, const std::filesystem::path& path, std::string_view what,
                              std::size_t max_depth = 32);

// The whole of a JSON file of at most `max_bytes`, which must hold an object.
[[nodiscard]] Json read_json_object(const std::filesystem::path& path, std::size_t max_bytes);

// A JSON object with typed access. An absent key and null read as nullopt; a value of another type
// or out of range is an Error(Data). The object must outlive the view.
class JsonView {
 public:
  JsonView(const Json& object, std::filesystem::path path, std::string prefix = {});

  [[nodiscard]] const Json* find(const std::string& key) const;  // nullptr when absent or null
  [[nodiscard]] std::optional<std::int64_t> integer(const std::string& key) const;
  [[nodiscard]] std::optional<double> number(const std::string& key) const;
  [[nodiscard]] std::optional<bool> boolean(const std::string& key) const;
  [[nodiscard]] std::optional<std::string> text(const std::string& key) const;
  [[nodiscard]] std::optional<JsonView> object(const std::string& key) const;
  [[nodiscard]] const Json* array(const std::string& key) const;  // nullptr when absent or null

  [[nodiscard]] std::int64_t require_integer(const std::string& key) const;
  [[nodiscard]] double require_number(const std::string& key) const;
  [[nodiscard]] std::string require_text(const std::string& key) const;

  // Throws Error(Data) "PATH: prefix.key <reason>".
  [[noreturn]] void fail(const std::string& key, std::string_view reason) const;
  [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }
  [[nodiscard]] const Json& json() const noexcept { return *object_; }

 private:
  const Json* object_;
  std::filesystem::path path_;
  std::string prefix_;
};

// A JSON integer within int64, or nullopt.
[[nodiscard]] std::optional<std::int64_t> as_integer(const Json& value) noexcept;

}  // namespace thinkey
