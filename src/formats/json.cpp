#include "formats/json.h"

#include <limits>
#include <span>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base/fail.h"
#include "base/mapped_file.h"
#include "formats/printable.h"

namespace thinkey {

Json parse_json(std::string_view text, const std::filesystem::path& path, std::string_view what,
                std::size_t max_depth) {
  std::vector<std::unordered_set<std::string>> keys;  // of the objects that are open, outermost first
  const auto watch = [&](int depth, Json::parse_event_t event, Json& value) {
    const auto level = static_cast<std::size_t>(depth);
    if (event == Json::parse_event_t::object_start || event == Json::parse_event_t::array_start) {
      if (level >= max_depth) {
        fail_data("{}: {}: nested deeper than {} levels", path.string(), what, max_depth);
      }
      if (keys.size() <= level) keys.resize(level + 1);
      keys[level] =
          {};  // clear() would go through all of a large object's buckets for every small one after it
    } else if (event == Json::parse_event_t::key) {  // keys lie one level below their object's start
      const auto& name = value.get_ref<const std::string&>();
      if (!keys[level - 1].insert(name).second) {
        fail_data("{}: {}: key \"{}\" occurs twice", path.string(), what, printable(name));
      }
    }
    return true;
  };
  try {
    return Json::parse(text, watch);
  } catch (const Json::parse_error& error) {
    fail_data("{}: {} is not valid JSON near its byte {}", path.string(), what, error.byte);
  } catch (const Json::exception&) {
    fail_data("{}: {} is not valid JSON: a number is out of range", path.string(), what);
  }
}

Json read_json_object(const std::filesystem::path& path, std::size_t max_bytes) {
  const MappedFile file(path);
  const std::span<const std::byte> bytes = file.bytes();
  if (bytes.size() > max_bytes) {
    fail_data("{}: {} bytes, but at most {} are read from a file of this kind", path.string(), bytes.size(),
              max_bytes);
  }
  Json json = parse_json({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, path, "file");
  if (!json.is_object()) fail_data("{}: file is not a JSON object", path.string());
  return json;
}

std::optional<std::int64_t> as_integer(const Json& value) noexcept {
  if (const auto* number = value.get_ptr<const Json::number_unsigned_t*>()) {
    if (*number > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) return std::nullopt;
    return static_cast<std::int64_t>(*number);
  }
  if (const auto* number = value.get_ptr<const Json::number_integer_t*>()) return *number;
  return std::nullopt;
}

JsonView::JsonView(const Json& object, std::filesystem::path path, std::string prefix)
    : object_(&object), path_(std::move(path)), prefix_(std::move(prefix)) {}

void JsonView::fail(const std::string& key, std::string_view reason) const {
  fail_data("{}: {}{} {}", path_.string(), prefix_, printable(key), reason);
}

const Json* JsonView::find(const std::string& key) const {
  const auto found = object_->find(key);
  return found == object_->end() || found->is_null() ? nullptr : &*found;
}

std::optional<std::int64_t> JsonView::integer(const std::string& key) const {
  const Json* value = find(key);
  if (value == nullptr) return std::nullopt;
  const std::optional<std::int64_t> number = as_integer(*value);
  if (!number) fail(key, "is not an integer");
  return number;
}

std::optional<double> JsonView::number(const std::string& key) const {
  const Json* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_number()) fail(key, "is not a number");
  return value->get<double>();
}

std::optional<bool> JsonView::boolean(const std::string& key) const {
  const Json* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_boolean()) fail(key, "is not true or false");
  return value->get<bool>();
}

std::optional<std::string> JsonView::text(const std::string& key) const {
  const Json* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_string()) fail(key, "is not a string");
  return value->get<std::string>();
}

std::optional<JsonView> JsonView::object(const std::string& key) const {
  const Json* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_object()) fail(key, "is not an object");
  return JsonView(*value, path_, prefix_ + key + ".");
}

const Json* JsonView::array(const std::string& key) const {
  const Json* value = find(key);
  if (value != nullptr && !value->is_array()) fail(key, "is not a list");
  return value;
}

std::int64_t JsonView::require_integer(const std::string& key) const {
  const auto value = integer(key);
  if (!value) fail(key, "is missing");
  return *value;
}

double JsonView::require_number(const std::string& key) const {
  const auto value = number(key);
  if (!value) fail(key, "is missing");
  return *value;
}

std::string JsonView::require_text(const std::string& key) const {
  auto value = text(key);
  if (!value) fail(key, "is missing");
  return *std::move(value);
}

}  // namespace thinkey
