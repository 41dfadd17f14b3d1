#include "formats/json.h"

#include <limits>
#include <span>
#include <utility>
#include <vector>

#include "base/fail.h"
#include "base/mapped_file.h"
#include "formats/printable.h"

namespace thinkey {

namespace {

// Builds the document from the parser's events. nlohmann's own builder with a callback walks through an
// object's or a list's elements each time one of them ends, which is quadratic.
class Builder {
 public:
  Builder(const std::filesystem::path& path, std::string_view what, std::size_t max_depth)
      : path_(path), what_(what), max_depth_(max_depth) {}

  [[nodiscard]] Json take() { return std::move(root_); }

  // What Json::sax_parse() calls; the names are its own.
  bool null() { return put(nullptr); }
  bool boolean(bool value) { return put(value); }
  bool number_integer(Json::number_integer_t value) { return put(value); }
  bool number_unsigned(Json::number_unsigned_t value) { return put(value); }
  bool number_float(Json::number_float_t value, const std::string& /*text*/) { return put(value); }
  bool string(std::string& value) { return put(std::move(value)); }
  bool binary(Json::binary_t& /*value*/) { return false; }  // not in text
  bool start_object(std::size_t /*elements*/) { return open(Json::object()); }
  bool start_array(std::size_t /*elements*/) { return open(Json::array()); }
  bool end_object() { return close(); }
  bool end_array() { return close(); }
  bool key(std::string& name) {
    auto& members = open_.back()->get_ref<Json::object_t&>();
    const auto [member, added] = members.try_emplace(std::move(name));
    if (!added) fail_data("{}: {}: key \"{}\" occurs twice", path_.string(), what_, printable(member->first));
    next_ = &member->second;
    return true;
  }
  [[noreturn]] bool parse_error(std::size_t byte, const std::string& /*token*/,
                                const Json::exception& error) {
    constexpr int kNumberOutOfRange = 406;
    if (error.id == kNumberOutOfRange) {
      fail_data("{}: {} is not valid JSON: a number is out of range", path_.string(), what_);
    }
    fail_data("{}: {} is not valid JSON near its byte {}", path_.string(), what_, byte);
  }

 private:
  // Where the next value goes: it is the document, a member whose key has been read, or a list's next
  // element.
  template <typename Value>
  Json* place(Value&& value) {
    if (open_.empty()) return &(root_ = std::forward<Value>(value));
    if (open_.back()->is_object()) return &(*next_ = std::forward<Value>(value));
    auto& elements = open_.back()->get_ref<Json::array_t&>();
    return &elements.emplace_back(std::forward<Value>(value));
  }
  template <typename Value>
  bool put(Value&& value) {
    place(std::forward<Value>(value));
    return true;
  }
  bool open(Json empty) {
    if (open_.size() >= max_depth_) {
      fail_data("{}: {}: nested deeper than {} levels", path_.string(), what_, max_depth_);
    }
    open_.push_back(place(std::move(empty)));
    return true;
  }
  bool close() {
    open_.pop_back();
    return true;
  }

  const std::filesystem::path& path_;
  std::string_view what_;
  std::size_t max_depth_;
  Json root_;
  std::vector<Json*> open_;  // objects and lists that have not ended, outermost first
  Json* next_ = nullptr;     // the member that a key has announced
};

}  // namespace

Json parse_json(std::string_view text, const std::filesystem::path& path, std::string_view what,
                std::size_t max_depth) {
  Builder builder(path, what, max_depth);
  static_cast<void>(Json::sax_parse(text, &builder));
  return builder.take();
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
