#include "server/request_fields.h"

#include <cmath>
#include <utility>

#include "formats/json_bounds.h"
#include "formats/printable.h"

namespace thinkey::server {
namespace {

constexpr JsonBounds kBounds{.depth = 64, .keys = 16384};

}  // namespace

OrderedJson parse_body(std::string_view text) {
  if (const std::string excess = json_excess(text, kBounds); !excess.empty()) {
    refuse("", "the body is too complex: {}", excess);
  }
  std::vector<std::set<std::string>> keys;
  std::string twice;
  const auto watch = [&](int, OrderedJson::parse_event_t event, OrderedJson& value) {
    if (event == OrderedJson::parse_event_t::object_start) keys.emplace_back();
    if (event == OrderedJson::parse_event_t::object_end) keys.pop_back();
    if (event == OrderedJson::parse_event_t::key && twice.empty() &&
        !keys.back().insert(value.get<std::string>()).second) {
      twice = value.get<std::string>();
    }
    return true;
  };
  OrderedJson body;
  try {
    body = OrderedJson::parse(text, watch);
  } catch (const nlohmann::json::exception& error) {
    // "[json.exception.parse_error.101] parse error at ...": what follows the bracket is for people.
    std::string_view message = error.what();
    if (const std::size_t at = message.find("] "); at != std::string_view::npos) {
      message.remove_prefix(at + 2);
    }
    refuse("", "the body is not JSON: {}", printable(message, 200));
  }
  if (!twice.empty()) {
    refuse(printable(twice, 60), "the key \"{}\" occurs twice in one object", printable(twice, 60));
  }
  if (!body.is_object()) refuse("", "the body must be a JSON object");
  return body;
}

bool says(const OrderedJson& object, const char* name, std::string_view text) {
  const auto at = object.find(name);
  return at != object.end() && at->is_string() && at->get_ref<const std::string&>() == text;
}

RequestFields::RequestFields(const OrderedJson& object, std::string path)
    : object_(object), path_(std::move(path)) {
  if (!object.is_object()) {
    const std::string name = path_.empty() ? "the body" : path_.substr(0, path_.size() - 1);
    refuse(name, "{} must be an object", name);
  }
}

void RequestFields::fail(const std::string& name, std::string_view reason) const {
  refuse(path(name), "\"{}\" {}", printable(path(name), 100), reason);
}

const OrderedJson* RequestFields::find(const std::string& name) {
  read_.insert(name);
  const auto at = object_.find(name);
  return at == object_.end() || at->is_null() ? nullptr : &*at;
}

std::optional<std::int64_t> RequestFields::integer(const std::string& name, std::int64_t least,
                                                   std::int64_t most) {
  const OrderedJson* value = find(name);
  if (value == nullptr) return std::nullopt;
  const std::string range = fmt::format("must be a whole number, {} to {}", least, most);
  if (value->is_number_unsigned()) {
    const auto number = value->get<std::uint64_t>();
    if (number > static_cast<std::uint64_t>(most) ||
        (least > 0 && number < static_cast<std::uint64_t>(least))) {
      fail(name, range);
    }
    return static_cast<std::int64_t>(number);
  }
  if (value->is_number_integer()) {
    const auto number = value->get<std::int64_t>();
    if (number < least || number > most) fail(name, range);
    return number;
  }
  if (value->is_number_float()) {  // 16.0, as some clients write
    const double number = value->get<double>();
    if (number == std::floor(number) && number >= static_cast<double>(least) &&
        number <= static_cast<double>(most) && std::abs(number) < 9e15) {
      return static_cast<std::int64_t>(number);
    }
  }
  fail(name, range);
}

std::optional<double> RequestFields::number(const std::string& name, double least, double most) {
  const OrderedJson* value = find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_number()) fail(name, "must be a number");
  const auto number = value->get<double>();
  if (!(number >= least && number <= most)) fail(name, fmt::format("must be {} to {}", least, most));
  return number;
}

std::optional<bool> RequestFields::boolean(const std::string& name) {
  const OrderedJson* value = find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_boolean()) fail(name, "must be true or false");
  return value->get<bool>();
}

std::optional<std::string> RequestFields::text(const std::string& name) {
  const OrderedJson* value = find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_string()) fail(name, "must be a string");
  return value->get<std::string>();
}

const OrderedJson* RequestFields::array(const std::string& name) {
  const OrderedJson* value = find(name);
  if (value != nullptr && !value->is_array()) fail(name, "must be a list");
  return value;
}

const OrderedJson* RequestFields::object(const std::string& name) {
  const OrderedJson* value = find(name);
  if (value != nullptr && !value->is_object()) fail(name, "must be an object");
  return value;
}

std::string RequestFields::require_text(const std::string& name) {
  const auto value = text(name);
  if (!value) fail(name, "is missing");
  return *value;
}

std::vector<std::string> RequestFields::texts(const std::string& name, std::size_t most) {
  const OrderedJson* value = find(name);
  if (value == nullptr) return {};
  if (value->is_string()) return {value->get<std::string>()};
  if (!value->is_array()) fail(name, "must be a string or a list of strings");
  if (value->size() > most) fail(name, fmt::format("has more than {} strings", most));
  std::vector<std::string> out;
  for (const OrderedJson& item : *value) {
    if (!item.is_string()) fail(name, "must be a string or a list of strings");
    out.push_back(item.get<std::string>());
  }
  return out;
}

void RequestFields::ignore(std::initializer_list<const char*> names) {
  read_.insert(names.begin(), names.end());
}

void RequestFields::finish() const {
  for (const auto& [key, value] : object_.items()) {
    if (read_.contains(key)) continue;
    if (value.is_null()) continue;  // as if it were not there
    fail(key, "is not a field that this server knows");
  }
}

}  // namespace thinkey::server
