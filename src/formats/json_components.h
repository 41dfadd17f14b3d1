// Walking the components of a tokenizer.json: objects with a "type", and Sequences of them.
#pragma once

#include <algorithm>
#include <initializer_list>
#include <string>
#include <string_view>

#include "base/fail.h"
#include "formats/json.h"
#include "formats/printable.h"

namespace thinkey {

// Calls visit(component) for the component `whole`, or for those in a Sequence's list `parts`, whose
// own Sequences are opened too. JSON's depth is bounded by parse_json().
template <typename Visit>
void for_each_component(const JsonView& whole, const std::string& parts, const Visit& visit) {
  if (whole.require_text("type") != "Sequence") return visit(whole);
  const Json* list = whole.array(parts);
  if (list == nullptr) whole.fail(parts, "is missing");
  for (const Json& part : *list) {
    if (!part.is_object()) whole.fail(parts, "holds something that is not an object");
    for_each_component(JsonView(part, whole.path(), parts + "."), parts, visit);
  }
}

// A setting this program has not heard of may change what the component does.
inline void allow_only(const JsonView& component, std::initializer_list<std::string_view> keys) {
  for (const auto& [key, value] : component.json().items()) {
    if (key != "type" && std::find(keys.begin(), keys.end(), key) == keys.end()) {
      component.fail(key,
                     fmt::format("is not a known setting of {}", printable(component.require_text("type"))));
    }
  }
}

[[noreturn]] inline void refuse_component(const JsonView& component) {
  component.fail("type", fmt::format("\"{}\" is not supported", printable(component.require_text("type"))));
}

}  // namespace thinkey
