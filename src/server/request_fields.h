// The fields of a request's JSON body. Every field must be read by somebody: one that nobody asked for is
// refused by name, since it might change the answer.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "server/api_error.h"

namespace thinkey::server {

// Parses a body within bounds: depth, keys, UTF-8, no key twice. ApiError 400.
[[nodiscard]] OrderedJson parse_body(std::string_view text);

// Whether `name` is there and is that very text.
[[nodiscard]] bool says(const OrderedJson& object, const char* name, std::string_view text);

// An object with typed access; a field that is absent or null reads as nullopt, one of another type or out of
// range is an ApiError naming it. The object must outlive the view.
class RequestFields {
 public:
  // `path`: what stands in front of a field's name in errors, as "messages[0]."
  explicit RequestFields(const OrderedJson& object, std::string path = {});

  [[nodiscard]] const OrderedJson* find(const std::string& name);  // null when absent or null
  [[nodiscard]] std::optional<std::int64_t> integer(const std::string& name, std::int64_t least,
                                                    std::int64_t most);
  [[nodiscard]] std::optional<double> number(const std::string& name, double least, double most);
  [[nodiscard]] std::optional<bool> boolean(const std::string& name);
  [[nodiscard]] std::optional<std::string> text(const std::string& name);
  [[nodiscard]] const OrderedJson* array(const std::string& name);
  [[nodiscard]] const OrderedJson* object(const std::string& name);
  [[nodiscard]] std::string require_text(const std::string& name);
  // A string or a list of at most `most` strings.
  [[nodiscard]] std::vector<std::string> texts(const std::string& name, std::size_t most);

  // Says nothing about the answer.
  void ignore(std::initializer_list<const char*> names);
  // Refuses what nobody read.
  void finish() const;
  [[noreturn]] void fail(const std::string& name, std::string_view reason) const;
  [[nodiscard]] std::string path(const std::string& name) const { return path_ + name; }

 private:
  const OrderedJson& object_;
  std::string path_;
  std::set<std::string> read_;
};

}  // namespace thinkey::server
