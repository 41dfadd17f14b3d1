#include "jinja/tests.h"

#include <array>
#include <utility>

#include "jinja/filters.h"
#include "jinja/methods.h"
#include "jinja/operators.h"
#include "jinja/repr.h"

namespace thinkey::jinja {

namespace {

template <bool (*Check)(const Value&)>
bool simple(Interpreter& /*run*/, const Value& input, Arguments arguments) {
  const Bound bound("test", std::move(arguments), {});
  return Check(input);
}

bool is_defined(const Value& value) { return !value.is_undefined(); }
bool is_undefined(const Value& value) { return value.is_undefined(); }
bool is_none(const Value& value) { return value.is_none(); }
bool is_boolean(const Value& value) { return value.is(Kind::Boolean); }
bool is_true(const Value& value) { return value.is(Kind::Boolean) && value.boolean(); }
bool is_false(const Value& value) { return value.is(Kind::Boolean) && !value.boolean(); }
bool is_integer(const Value& value) { return value.is(Kind::Integer); }
bool is_float(const Value& value) { return value.is(Kind::Float); }
bool is_number(const Value& value) { return value.is_number(); }
bool is_string(const Value& value) { return value.is_string(); }
bool is_mapping(const Value& value) { return value.is(Kind::Dict); }
bool is_iterable(const Value& value) { return iterable(value); }
bool is_callable(const Value& value) { return value.is(Kind::Object) && value.object().callable(); }
bool is_escaped(const Value& value) { return value.is_string() && value.text().markup; }
bool is_sequence(const Value& value) {
  const bool is_range = value.is(Kind::View) && value.sequence().name.ends_with(')');
  return value.is_undefined() || value.is_string() || value.is(Kind::List) || value.is(Kind::Tuple) ||
         value.is(Kind::Dict) || is_range;
}

bool cased(Interpreter& run, const Value& input, Arguments arguments, std::string_view method) {
  const Bound bound("test", std::move(arguments), {});
  return truthy(call_string_method(run, Value(str(input, run.budget())), method, {}));
}
bool is_lower_case(Interpreter& run, const Value& input, Arguments arguments) {
  return cased(run, input, std::move(arguments), "islower");
}
bool is_upper_case(Interpreter& run, const Value& input, Arguments arguments) {
  return cased(run, input, std::move(arguments), "isupper");
}

bool leaves(Interpreter& run, const Value& input, const Value& divisor, std::int64_t rest) {
  return equal(binary(Operation::Modulo, input, divisor, run.budget()), Value(rest), run.budget());
}
bool is_odd(Interpreter& run, const Value& input, Arguments arguments) {
  const Bound bound("odd", std::move(arguments), {});
  return leaves(run, input, Value(std::int64_t{2}), 1);
}
bool is_even(Interpreter& run, const Value& input, Arguments arguments) {
  const Bound bound("even", std::move(arguments), {});
  return leaves(run, input, Value(std::int64_t{2}), 0);
}
bool is_divisible(Interpreter& run, const Value& input, Arguments arguments) {
  const Bound bound("divisibleby", std::move(arguments), {"num"}, 1);
  return leaves(run, input, bound.at(0), 0);
}

template <Operation operation>
bool compares(Interpreter& run, const Value& input, Arguments arguments) {
  const Bound bound("test", std::move(arguments), {"other"}, 1);
  return compare(operation, input, bound.at(0), run.budget());
}

bool is_same(Interpreter& /*run*/, const Value& input, Arguments arguments) {
  const Bound bound("sameas", std::move(arguments), {"other"}, 1);
  return input.same_as(bound.at(0));
}

bool is_filter(Interpreter& /*run*/, const Value& input, Arguments arguments) {
  const Bound bound("filter", std::move(arguments), {});
  return input.is_string() && find_filter(input.string()) != nullptr;
}
bool is_test(Interpreter& /*run*/, const Value& input, Arguments arguments) {
  const Bound bound("test", std::move(arguments), {});
  return input.is_string() && find_test(input.string()) != nullptr;
}

}  // namespace

Test find_test(std::string_view name) {
  static constexpr std::array<std::pair<std::string_view, Test>, 39> kTests{{
      {"!=", compares<Operation::NotEqual>},
      {"<", compares<Operation::Less>},
      {"<=", compares<Operation::LessEqual>},
      {"==", compares<Operation::Equal>},
      {">", compares<Operation::Greater>},
      {">=", compares<Operation::GreaterEqual>},
      {"boolean", simple<is_boolean>},
      {"callable", simple<is_callable>},
      {"defined", simple<is_defined>},
      {"divisibleby", is_divisible},
      {"eq", compares<Operation::Equal>},
      {"equalto", compares<Operation::Equal>},
      {"escaped", simple<is_escaped>},
      {"even", is_even},
      {"false", simple<is_false>},
      {"filter", is_filter},
      {"float", simple<is_float>},
      {"ge", compares<Operation::GreaterEqual>},
      {"greaterthan", compares<Operation::Greater>},
      {"gt", compares<Operation::Greater>},
      {"in", compares<Operation::In>},
      {"integer", simple<is_integer>},
      {"iterable", simple<is_iterable>},
      {"le", compares<Operation::LessEqual>},
      {"lessthan", compares<Operation::Less>},
      {"lower", is_lower_case},
      {"lt", compares<Operation::Less>},
      {"mapping", simple<is_mapping>},
      {"ne", compares<Operation::NotEqual>},
      {"none", simple<is_none>},
      {"number", simple<is_number>},
      {"odd", is_odd},
      {"sameas", is_same},
      {"sequence", simple<is_sequence>},
      {"string", simple<is_string>},
      {"test", is_test},
      {"true", simple<is_true>},
      {"undefined", simple<is_undefined>},
      {"upper", is_upper_case},
  }};
  for (const auto& [known, test] : kTests) {
    if (known == name) return test;
  }
  return nullptr;
}

}  // namespace thinkey::jinja
