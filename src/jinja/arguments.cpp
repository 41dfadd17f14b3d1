#include "jinja/arguments.h"

#include <algorithm>

namespace thinkey::jinja {

Bound::Bound(std::string_view function, Arguments arguments, std::initializer_list<std::string_view> names,
             std::size_t required)
    : function_(function), values_(names.size()) {
  if (arguments.positional.size() > names.size()) {
    fault("{}() takes at most {} argument(s) ({} given)", function, names.size(),
          arguments.positional.size());
  }
  for (std::size_t i = 0; i < arguments.positional.size(); ++i)
    values_[i] = std::move(arguments.positional[i]);
  for (auto& [name, value] : arguments.named) {
    const auto* const known = std::find(names.begin(), names.end(), name);
    if (known == names.end()) fault("{}() got an unexpected keyword argument '{}'", function, name);
    auto& place = values_[static_cast<std::size_t>(known - names.begin())];
    if (place) fault("{}() got multiple values for argument '{}'", function, name);
    place = std::move(value);
  }
  for (std::size_t i = 0; i < required; ++i) {
    if (!values_[i]) fault("{}() is missing its argument '{}'", function, *(names.begin() + i));
  }
}

std::int64_t Bound::integer(std::size_t index, std::int64_t otherwise) const {
  if (!has(index)) return otherwise;
  require_defined(at(index));
  if (!at(index).is_integral()) {
    fault("{}(): '{}' object cannot be interpreted as an integer", function_, type_name(at(index)));
  }
  return at(index).integer();
}

bool Bound::flag(std::size_t index, bool otherwise) const {
  return has(index) ? truthy(at(index)) : otherwise;
}

std::optional<std::string> Bound::text(std::size_t index) const {
  if (!has(index) || at(index).is_none()) return std::nullopt;
  if (!at(index).is_string()) fault("{}(): expected text, got {}", function_, type_name(at(index)));
  return at(index).string();
}

}  // namespace thinkey::jinja
