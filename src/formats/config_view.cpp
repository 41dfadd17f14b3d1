#include "formats/config_view.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/fail.h"

namespace thinkey {

ConfigView::ConfigView(JsonView object) : view_(std::move(object)), notes_(std::make_shared<Notes>()) {}

const Json* ConfigView::find(const std::string& key) const {
  note(key);
  return view_.find(key);
}

bool ConfigView::has(const std::string& key) const { return view_.find(key) != nullptr; }

std::optional<std::int64_t> ConfigView::integer(const std::string& key) const {
  note(key);
  return view_.integer(key);
}

std::optional<double> ConfigView::number(const std::string& key) const {
  note(key);
  const std::optional<double> value = view_.number(key);
  if (value && !std::isfinite(*value)) fail(key, "is not a finite number");
  return value;
}

std::optional<bool> ConfigView::boolean(const std::string& key) const {
  note(key);
  return view_.boolean(key);
}

std::optional<std::string> ConfigView::text(const std::string& key) const {
  note(key);
  return view_.text(key);
}

const Json* ConfigView::array(const std::string& key) const {
  note(key);
  return view_.array(key);
}

std::optional<std::vector<std::int64_t>> ConfigView::integers(const std::string& key) const {
  const Json* list = array(key);
  if (list == nullptr) return std::nullopt;
  std::vector<std::int64_t> out;
  for (const Json& item : *list) {
    const std::optional<std::int64_t> value =
        item.is_boolean() ? std::optional<std::int64_t>(item.get<bool>() ? 1 : 0) : as_integer(item);
    if (!value) fail(key, "holds something that is not an integer");
    out.push_back(*value);
  }
  return out;
}

std::optional<std::vector<double>> ConfigView::numbers(const std::string& key) const {
  const Json* list = array(key);
  if (list == nullptr) return std::nullopt;
  std::vector<double> out;
  for (const Json& item : *list) {
    if (!item.is_number() || !std::isfinite(item.get<double>())) {
      fail(key, "holds something that is not a finite number");
    }
    out.push_back(item.get<double>());
  }
  return out;
}

std::optional<std::vector<std::string>> ConfigView::texts(const std::string& key) const {
  const Json* list = array(key);
  if (list == nullptr) return std::nullopt;
  std::vector<std::string> out;
  for (const Json& item : *list) {
    if (!item.is_string()) fail(key, "holds something that is not a string");
    out.push_back(item.get<std::string>());
  }
  return out;
}

std::optional<ConfigView> ConfigView::object(const std::string& key) const {
  note(key);
  const auto same = [&](const auto& entry) { return entry.first == key; };
  const auto known = std::find_if(notes_->objects.begin(), notes_->objects.end(), same);
  if (known != notes_->objects.end()) return known->second;
  const std::optional<JsonView> inner = view_.object(key);
  if (!inner) return std::nullopt;
  ConfigView view(*inner);
  notes_->objects.emplace_back(key, view);
  return view;
}

bool ConfigView::is_object(const std::string& key) const {
  const Json* value = view_.find(key);
  return value != nullptr && value->is_object();
}

bool ConfigView::is_array(const std::string& key) const {
  const Json* value = view_.find(key);
  return value != nullptr && value->is_array();
}

std::int64_t ConfigView::require_integer(const std::string& key) const {
  note(key);
  return view_.require_integer(key);
}

double ConfigView::require_number(const std::string& key) const {
  const std::optional<double> value = number(key);
  if (!value) fail(key, "is missing");
  return *value;
}

double ConfigView::require_positive(const std::string& key) const {
  const double value = require_number(key);
  if (value <= 0) fail(key, "is not a positive number");
  return value;
}

std::vector<std::string> ConfigView::unread() const {
  std::vector<std::string> out;
  for (const auto& [key, value] : json().items()) {
    if (!value.is_null() && !notes_->read.contains(key)) out.push_back(key);
  }
  for (const auto& [key, inner] : notes_->objects) {
    for (const std::string& name : inner.unread()) out.push_back(key + "." + name);
  }
  return out;
}

}  // namespace thinkey
