#include "jinja/filters.h"

#include <algorithm>
#include <string>

#include "jinja/unicode.h"

namespace thinkey::jinja {

Filter find_filter(std::string_view name) {
  if (const Filter found = find_text_filter(name)) return found;
  if (const Filter found = find_sequence_filter(name)) return found;
  return find_number_filter(name);
}

AttributeGetter::AttributeGetter(const Value* attribute, const Value* otherwise, bool lower_case)
    : lower_case_(lower_case) {
  if (otherwise != nullptr && !otherwise->is_none()) {
    otherwise_ = *otherwise;
    has_otherwise_ = true;
  }
  if (attribute == nullptr || attribute->is_none()) return;
  if (!attribute->is_string()) {
    path_.push_back(*attribute);
    return;
  }
  const std::string& text = attribute->string();
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find('.', begin), text.size());
    const std::string part = text.substr(begin, end - begin);
    const bool number = !part.empty() && part.size() < 10 &&
                        std::all_of(part.begin(), part.end(), [](char c) { return c >= '0' && c <= '9'; });
    path_.push_back(number ? Value(std::int64_t{std::stoll(part)}) : Value(part));
    if (path_.size() > 100) fault("an attribute of more than 100 parts");
    begin = end + 1;
  }
}

Value AttributeGetter::operator()(Interpreter& run, Value value) const {
  for (const Value& part : path_) {
    value = run.item(value, part);
    if (has_otherwise_ && value.is_undefined()) value = otherwise_;
  }
  if (lower_case_ && value.is_string()) {
    run.budget().scan(16 * value.string().size());
    return run.text(to_lower(value.string()));
  }
  return value;
}

}  // namespace thinkey::jinja
