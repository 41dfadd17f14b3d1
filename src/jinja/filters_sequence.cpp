// Filters over sequences and mappings.
#include <algorithm>
#include <array>
#include <utility>

#include "jinja/filters.h"
#include "jinja/methods.h"
#include "jinja/operators.h"
#include "jinja/repr.h"
#include "jinja/unicode.h"

namespace thinkey::jinja {

namespace {

Value length_filter(Interpreter& /*run*/, const Value& input, Arguments arguments) {
  const Bound bound("length", std::move(arguments), {});
  return Value(length(input));
}

Value default_filter(Interpreter& /*run*/, const Value& input, Arguments arguments) {
  const Bound bound("default", std::move(arguments), {"default_value", "boolean"});
  const bool replaces = input.is_undefined() || (bound.flag(1) && !truthy(input));
  if (!replaces) return input;
  return bound.has(0) ? bound.at(0) : Value(std::string());
}

Value first(Interpreter& run, const Value& input, Arguments arguments) {
  const Bound bound("first", std::move(arguments), {});
  if (input.is(Kind::Iterator)) {  // takes one and leaves the rest
    Sequence& state = input.iterator_state();
    if (state.position < state.items.size()) return state.items[state.position++];
  } else if (input.is_string()) {
    if (!input.string().empty()) return run.item(input, Value(std::int64_t{0}));
  } else {
    const Values items = items_of(input, run.budget());
    if (!items.empty()) return items.front();
  }
  return Value::undefined("No first item, sequence was empty.");
}

Value last(Interpreter& run, const Value& input, Arguments arguments) {
  const Bound bound("last", std::move(arguments), {});
  if (input.is(Kind::Iterator)) fault("'generator' object is not reversible");
  if (input.is_string()) {
    if (!input.string().empty()) return run.item(input, Value(std::int64_t{-1}));
  } else {
    const Values items = items_of(input, run.budget());
    if (!items.empty()) return items.back();
  }
  return Value::undefined("No last item, sequence was empty.");
}

Value list(Interpreter& run, const Value& input, Arguments arguments) {
  const Bound bound("list", std::move(arguments), {});
  return run.list(items_of(input, run.budget()));
}

Value iterator(Interpreter& run, Values items) {
  run.budget().make(items.size() * sizeof(Value) + sizeof(Sequence));
  return Value::iterator(std::move(items));
}

Value items(Interpreter& run, const Value& input, Arguments arguments) {
  const Bound bound("items", std::move(arguments), {});
  Values pairs;
  if (!input.is_undefined()) {
    if (!input.is(Kind::Dict)) fault("Can only get item pairs from a mapping.");
    run.budget().make(input.dict().size() * 4 * sizeof(Value));
    for (const auto& [key, value] : input.dict().entries()) pairs.push_back(Value::tuple({key, value}));
  }
  return iterator(run, std::move(pairs));
}

Value reverse(Interpreter& run, const Value& input, Arguments arguments) {
  const Bound bound("reverse", std::move(arguments), {});
  if (input.is_string()) {
    return *slice(input, Value::none(), Value::none(), Value(std::int64_t{-1}), run.budget());
  }
  if (!iterable(input)) fault("argument must be iterable");
  Values reversed = items_of(input, run.budget());
  std::reverse(reversed.begin(), reversed.end());
  return input.is(Kind::Iterator) ? run.list(std::move(reversed)) : iterator(run, std::move(reversed));
}

Arguments without_first(const Arguments& arguments, std::size_t count) {
  Arguments rest = arguments;
  rest.positional.erase(
      rest.positional.begin(),
      rest.positional.begin() + static_cast<std::ptrdiff_t>(std::min(count, rest.positional.size())));
  return rest;
}

const std::string& name_of(const Value& value, std::string_view what) {
  if (!value.is_string()) fault("a {} name must be text", what);
  return value.string();
}

Value map(Interpreter& run, const Value& input, Arguments arguments) {
  Values out;
  if (!truthy(input)) return iterator(run, {});
  if (arguments.positional.empty()) {
    const Bound bound("map", std::move(arguments), {"attribute", "default"});
    if (!bound.has(0)) fault("map requires a filter argument");
    const AttributeGetter get(bound.find(0), bound.find(1));
    for (const Value& item : items_of(input, run.budget())) out.push_back(get(run, item));
    return iterator(run, std::move(out));
  }
  const std::string& name = name_of(arguments.positional[0], "filter");
  const Arguments rest = without_first(arguments, 1);
  for (const Value& item : items_of(input, run.budget())) out.push_back(run.filter(name, item, rest));
  return iterator(run, std::move(out));
}

Value choose(Interpreter& run, const Value& input, const Arguments& arguments, bool keeps,
             bool by_attribute) {
  Values out;
  if (!truthy(input)) return iterator(run, {});
  const std::size_t skipped = by_attribute ? 1 : 0;
  if (arguments.positional.size() < skipped) fault("Missing parameter for attribute name");
  const AttributeGetter get(by_attribute ? &arguments.positional[0] : nullptr);
  const bool has_test = arguments.positional.size() > skipped;
  const std::string name = has_test ? name_of(arguments.positional[skipped], "test") : std::string();
  const Arguments rest = without_first(arguments, skipped + 1);
  for (const Value& item : items_of(input, run.budget())) {
    const Value value = get(run, item);
    const bool holds = has_test ? run.test(name, value, rest) : truthy(value);
    if (holds == keeps) out.push_back(item);
  }
  return iterator(run, std::move(out));
}

Value select(Interpreter& run, const Value& input, Arguments arguments) {
  return choose(run, input, arguments, true, false);
}
Value reject(Interpreter& run, const Value& input, Arguments arguments) {
  return choose(run, input, arguments, false, false);
}
Value select_attribute(Interpreter& run, const Value& input, Arguments arguments) {
  return choose(run, input, arguments, true, true);
}
Value reject_attribute(Interpreter& run, const Value& input, Arguments arguments) {
  return choose(run, input, arguments, false, true);
}

// Stable, and in reverse as Python does it: equal ones keep their order.
Values sorted(Interpreter& run, Values values, const std::vector<Values>& keys, bool reversed) {
  std::vector<std::size_t> order(values.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  const auto before = [&](std::size_t a, std::size_t b) {
    for (std::size_t k = 0; k < keys[a].size(); ++k) {
      if (equal(keys[a][k], keys[b][k], run.budget())) continue;
      return less(reversed ? keys[b][k] : keys[a][k], reversed ? keys[a][k] : keys[b][k], run.budget());
    }
    return false;
  };
  // Own merge sort: values that have no consistent order (NaN) must not lead std::sort astray.
  std::vector<std::size_t> other(order.size());
  for (std::size_t width = 1; width < order.size(); width *= 2) {
    for (std::size_t begin = 0; begin < order.size(); begin += 2 * width) {
      const std::size_t middle = std::min(begin + width, order.size());
      const std::size_t end = std::min(begin + 2 * width, order.size());
      std::size_t left = begin;
      std::size_t right = middle;
      for (std::size_t out = begin; out < end; ++out) {
        const bool takes_right = left == middle || (right < end && before(order[right], order[left]));
        other[out] = order[takes_right ? right++ : left++];
      }
    }
    order.swap(other);
  }
  Values out;
  out.reserve(values.size());
  for (const std::size_t index : order) out.push_back(std::move(values[index]));
  return out;
}

Value sort(Interpreter& run, const Value& input, Arguments arguments) {
  const Bound bound("sort", std::move(arguments), {"reverse", "case_sensitive", "attribute"});
  const bool lower_case = !bound.flag(1);
  // "a,b": by a, then by b.
  std::vector<AttributeGetter> getters;
  if (bound.has(2) && bound.at(2).is_string()) {
    const std::string& text = bound.at(2).string();
    for (std::size_t begin = 0; begin <= text.size();) {
      const std::size_t end = std::min(text.find(',', begin), text.size());
      const Value part(text.substr(begin, end - begin));
      getters.emplace_back(&part, nullptr, lower_case);
      if (getters.size() > 100) fault("sort: more than 100 attributes");
      begin = end + 1;
    }
  } else {
    getters.emplace_back(bound.find(2), nullptr, lower_case);
  }
  Values values = items_of(input, run.budget());
  std::vector<Values> keys;
  for (const Value& value : values) {
    Values key;
    for (const AttributeGetter& get : getters) key.push_back(get(run, value));
    run.budget().make(key.size() * sizeof(Value));
    keys.push_back(std::move(key));
  }
  return run.list(sorted(run, std::move(values), keys, bound.flag(0)));
}

Value sort_dict(Interpreter& run, const Value& input, Arguments arguments) {
  const Bound bound("dictsort", std::move(arguments), {"case_sensitive", "by", "reverse"});
  const std::string by = bound.text(1).value_or("key");
  if (by != "key" && by != "value") fault("You can only sort by either \"key\" or \"value\"");
  require_defined(input);
  if (!input.is(Kind::Dict)) fault("'{}' object has no attribute 'items'", type_name(input));
  const AttributeGetter get(nullptr, nullptr, !bound.flag(0));
  Values pairs;
  std::vector<Values> keys;
  run.budget().make(input.dict().size() * 6 * sizeof(Value));
  for (const auto& [key, value] : input.dict().entries()) {
    pairs.push_back(Value::tuple({key, value}));
    keys.push_back({get(run, by == "key" ? key : value)});
  }
  return run.list(sorted(run, std::move(pairs), keys, bound.flag(2)));
}

Value unique(Interpreter& run, const Value& input, Arguments arguments) {
  const Bound bound("unique", std::move(arguments), {"case_sensitive", "attribute"});
  const AttributeGetter get(bound.find(1), nullptr, !bound.flag(0));
  Dict seen;
  Values out;
  for (const Value& item : items_of(input, run.budget())) {
    const Value key = get(run, item);
    if (seen.find(key) != nullptr) continue;
    run.budget().make(4 * sizeof(Value) + (key.is_string() ? key.string().size() : 0));
    seen.set(key, Value::none());
    out.push_back(item);
  }
  return iterator(run, std::move(out));
}

Value extreme(Interpreter& run, const Value& input, Arguments arguments, bool largest) {
  const Bound bound(largest ? "max" : "min", std::move(arguments), {"case_sensitive", "attribute"});
  const AttributeGetter get(bound.find(1), nullptr, !bound.flag(0));
  const Values values = items_of(input, run.budget());
  if (values.empty()) return Value::undefined("No aggregated item, sequence was empty.");
  const Value* best = &values[0];
  Value best_key = get(run, values[0]);
  for (std::size_t i = 1; i < values.size(); ++i) {
    Value key = get(run, values[i]);
    if (largest ? !less(best_key, key, run.budget(), ">") : !less(key, best_key, run.budget())) continue;
    best = &values[i];
    best_key = std::move(key);
  }
  return *best;
}

Value smallest(Interpreter& run, const Value& input, Arguments arguments) {
  return extreme(run, input, std::move(arguments), false);
}
Value largest(Interpreter& run, const Value& input, Arguments arguments) {
  return extreme(run, input, std::move(arguments), true);
}

Value sum(Interpreter& run, const Value& input, Arguments arguments) {
  const Bound bound("sum", std::move(arguments), {"attribute", "start"});
  const AttributeGetter get(bound.find(0));
  Value total = bound.has(1) ? bound.at(1) : Value(std::int64_t{0});
  if (total.is_string()) fault("sum() can't sum strings [use ''.join(seq) instead]");
  for (const Value& item : items_of(input, run.budget())) {
    total = binary(Operation::Add, total, get(run, item), run.budget());
  }
  return total;
}

Value batch(Interpreter& run, const Value& input, Arguments arguments) {
  const Bound bound("batch", std::move(arguments), {"linecount", "fill_with"}, 1);
  const std::int64_t size = bound.integer(0, 0);
  const bool fills = bound.has(1) && !bound.at(1).is_none();
  Values out;
  Values row;
  const auto finish = [&] { out.push_back(run.list(std::exchange(row, {}))); };
  for (const Value& item : items_of(input, run.budget())) {
    if (static_cast<std::int64_t>(row.size()) == size) finish();
    row.push_back(item);
  }
  if (!row.empty()) {
    if (fills) run.budget().make(static_cast<std::size_t>(std::max(size, std::int64_t{0})) * sizeof(Value));
    while (fills && static_cast<std::int64_t>(row.size()) < size) row.push_back(bound.at(1));
    finish();
  }
  return iterator(run, std::move(out));
}

Value slice_filter(Interpreter& run, const Value& input, Arguments arguments) {
  const Bound bound("slice", std::move(arguments), {"slices", "fill_with"}, 1);
  const std::int64_t slices = bound.integer(0, 0);
  const Values whole = items_of(input, run.budget());
  if (slices == 0) fault("integer division or modulo by zero");
  if (slices > kMostRange) fault("slice: more than {} slices", kMostRange);
  const auto size = static_cast<std::int64_t>(whole.size());
  const std::int64_t each = slices > 0 ? size / slices : 0;
  const std::int64_t longer = slices > 0 ? size % slices : 0;
  const bool fills = bound.has(1) && !bound.at(1).is_none();
  Values out;
  auto at = whole.begin();
  for (std::int64_t i = 0; i < slices; ++i) {
    const auto end = at + (each + (i < longer ? 1 : 0));
    Values part(at, end);
    at = end;
    if (fills && i >= longer) part.push_back(bound.at(1));
    out.push_back(run.list(std::move(part)));
  }
  return iterator(run, std::move(out));
}

Value group_by(Interpreter& run, const Value& input, Arguments arguments) {
  const Bound bound("groupby", std::move(arguments), {"attribute", "default", "case_sensitive"}, 1);
  const AttributeGetter key_of(bound.find(0), bound.find(1), !bound.flag(2));
  const AttributeGetter shown(bound.find(0), bound.find(1));
  Values values = items_of(input, run.budget());
  std::vector<Values> keys;
  run.budget().make(4 * values.size() * sizeof(Value));
  for (const Value& value : values) keys.push_back({key_of(run, value)});
  values = sorted(run, std::move(values), keys, false);
  Values groups;
  for (std::size_t begin = 0; begin < values.size();) {
    const Value key = key_of(run, values[begin]);
    Values group;
    std::size_t end = begin;
    for (; end < values.size() && equal(key, key_of(run, values[end]), run.budget()); ++end) {
      group.push_back(values[end]);
    }
    if (end == begin) group.push_back(values[end++]);  // NaN is not even equal to itself
    groups.push_back(Value::tuple({shown(run, values[begin]), run.list(std::move(group))}));
    begin = end;
  }
  return run.list(std::move(groups));
}

Value attr(Interpreter& run, const Value& input, Arguments arguments) {
  const Bound bound("attr", std::move(arguments), {"name"}, 1);
  const std::string name = bound.text(0).value_or("None");
  require_defined(input);
  const bool has = input.is(Kind::Object) || method_state(input, name) != MethodState::None;
  return has ? run.attribute(input, name)
             : Value::undefined(fmt::format("'{} object' has no attribute '{}'", type_name(input), name));
}

}  // namespace

Filter find_sequence_filter(std::string_view name) {
  static constexpr std::array<std::pair<std::string_view, Filter>, 25> kFilters{{
      {"attr", attr},
      {"batch", batch},
      {"count", length_filter},
      {"d", default_filter},
      {"default", default_filter},
      {"dictsort", sort_dict},
      {"first", first},
      {"groupby", group_by},
      {"items", items},
      {"last", last},
      {"length", length_filter},
      {"list", list},
      {"map", map},
      {"max", largest},
      {"min", smallest},
      {"reject", reject},
      {"rejectattr", reject_attribute},
      {"reverse", reverse},
      {"select", select},
      {"selectattr", select_attribute},
      {"slice", slice_filter},
      {"sort", sort},
      {"sum", sum},
      {"unique", unique},
      {"", nullptr},
  }};
  for (const auto& [known, filter] : kFilters) {
    if (known == name) return filter;
  }
  return nullptr;
}

}  // namespace thinkey::jinja
