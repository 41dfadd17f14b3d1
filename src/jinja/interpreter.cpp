// Expressions. Statements are in statements.cpp.
#include "jinja/interpreter.h"

#include <algorithm>

#include "jinja/filters.h"
#include "jinja/methods.h"
#include "jinja/objects.h"
#include "jinja/operators.h"
#include "jinja/repr.h"
#include "jinja/tests.h"

namespace thinkey::jinja {

namespace {

// How Jinja's messages name a value's type.
std::string object_name(const Value& value) {
  if (value.is_none()) return "None";
  if (value.is(Kind::Object) && value.object().type_name() == "Namespace") {
    return "jinja2.utils.Namespace object";
  }
  return type_name(value) + " object";
}

bool is_range(const Value& value) { return value.is(Kind::View) && value.sequence().name.ends_with(')'); }

Value method(const Value& self, std::string_view name) {
  return Value(std::static_pointer_cast<Object>(std::make_shared<Method>(self, std::string(name))));
}

}  // namespace

void Scope::set(Symbol symbol, Value value) {
  for (auto& [known, place] : values) {
    if (known != symbol) continue;
    place = std::move(value);
    return;
  }
  values.emplace_back(symbol, std::move(value));
}

Interpreter::Interpreter(const Program& program, const Dict& variables, Budget& budget,
                         std::optional<std::int64_t> now)
    : program_(program), budget_(budget), now_(now), variables_(program.names.size()) {
  for (std::size_t i = 0; i < program.names.size(); ++i) {
    if (const Value* given = variables.find(std::string_view(program.names[i]))) {
      variables_[i] = *given;
    } else {
      variables_[i] = find_global(program.names[i]);
    }
  }
  root_.captured = true;
}

Interpreter::~Interpreter() {
  // Macros and namespaces may refer to each other in circles.
  for (const std::shared_ptr<Object>& object : kept_objects_) static_cast<Droppable&>(*object).drop();
  for (const std::unique_ptr<Scope>& scope : kept_scopes_) scope->values.clear();
  root_.values.clear();
}

std::string Interpreter::run() {
  std::string out;
  static_cast<void>(execute(program_.body, root_, out));
  return out;
}

void Interpreter::keep(std::weak_ptr<Object> object) {
  budget_.make(256);
  kept_objects_.push_back(object.lock());
}

Value Interpreter::text(std::string text, bool markup) {
  budget_.make(text.size() + sizeof(Text));
  return Value(std::move(text), markup);
}

Value Interpreter::list(Values items) {
  budget_.make(items.size() * sizeof(Value) + sizeof(Sequence));
  return Value::list(std::move(items));
}

Value Interpreter::attribute(const Value& object, std::string_view name) {
  require_defined(object);
  if (object.is(Kind::Object)) {
    if (name.starts_with("_")) {
      return Value::undefined(
          fmt::format("access to attribute '{}' of '{}' object is unsafe.", name, type_name(object)));
    }
    if (auto found = object.object().attribute(*this, name)) return *std::move(found);
  } else {
    if (name.starts_with("__") && name.ends_with("__")) {
      return Value::undefined(
          fmt::format("access to attribute '{}' of '{}' object is unsafe.", name, type_name(object)));
    }
    switch (method_state(object, name)) {
      case MethodState::Here:
        return method(object, name);
      case MethodState::Unsafe:
        return Value::undefined(
            fmt::format("access to attribute '{}' of '{}' object is unsafe.", name, type_name(object)));
      case MethodState::Unsupported:
        fault("{}.{} is not supported", type_name(object), name);
      case MethodState::None:
        break;
    }
    if (object.is(Kind::Dict)) {
      if (const Value* found = object.dict().find(name)) return *found;
    }
  }
  return Value::undefined(fmt::format("'{}' has no attribute '{}'", object_name(object), name));
}

Value Interpreter::item(const Value& object, const Value& key) {
  require_defined(object);
  if (object.is(Kind::Dict)) {
    const bool hashable = !key.is(Kind::List) && !key.is(Kind::Dict);
    if (const Value* found = hashable ? object.dict().find(key) : nullptr) return *found;
  } else if (key.is_integral()) {
    const bool indexed =
        object.is_string() || object.is(Kind::List) || object.is(Kind::Tuple) || is_range(object);
    if (indexed) {
      const std::int64_t size = length(object);
      const std::int64_t index = key.integer() < 0 ? key.integer() + size : key.integer();
      if (index >= 0 && index < size) {
        if (!object.is_string()) return object.items()[static_cast<std::size_t>(index)];
        return *slice(object, Value(index), Value(index + 1), Value::none(), budget_);
      }
    }
  }
  if (key.is_string()) {
    if (!object.is(Kind::Dict)) return attribute(object, key.string());
    const std::string& name = key.string();
    if (method_state(object, name) != MethodState::None) return attribute(object, name);
    return Value::undefined(fmt::format("'{}' has no attribute '{}'", object_name(object), name));
  }
  return Value::undefined(fmt::format("{} has no element {}", object_name(object),
                                      key.is(Kind::Object) ? type_name(key) : repr(key, budget_)));
}

Value Interpreter::call(const Value& callee, Arguments arguments) {
  require_defined(callee);
  if (!callee.is(Kind::Object)) fault("'{}' object is not callable", type_name(callee));
  const Budget::Level level(budget_);
  budget_.step();
  const std::shared_ptr<Object> object = callee.shared_object();  // alive while it runs
  return object->call(*this, std::move(arguments));
}

Value Interpreter::filter(const std::string& name, const Value& input, Arguments arguments) {
  const Filter found = find_filter(name);
  if (found == nullptr) fault("No filter named '{}' found.", name);
  const Budget::Level level(budget_);
  budget_.step();
  return found(*this, input, std::move(arguments));
}

bool Interpreter::test(const std::string& name, const Value& input, Arguments arguments) {
  const Test found = find_test(name);
  if (found == nullptr) fault("No test named '{}' found.", name);
  budget_.step();
  return found(*this, input, std::move(arguments));
}

Value Interpreter::evaluate(const Expression& node, Scope& scope) {
  const Budget::Level level(budget_);
  budget_.step();
  line_ = node.line;
  using K = Expression::Kind;
  switch (node.kind) {
    case K::Constant:
      return node.value;
    case K::Name:
      return evaluate_name(node, scope);
    case K::Tuple:
    case K::List:
      return evaluate_items(node, scope);
    case K::Dict:
      return evaluate_dict(node, scope);
    case K::Attribute: {
      const Value object = evaluate(*node.children[0], scope);
      line_ = node.line;
      return attribute(object, node.name);
    }
    case K::Item:
      return evaluate_item(node, scope);
    case K::Call:
      return evaluate_call(node, scope, nullptr);
    case K::Filter:
      return evaluate_filter(node, scope, nullptr);
    case K::Test: {
      const Value input = evaluate(*node.children[0], scope);
      return Value(test(node.name, input, evaluate_arguments(*node.arguments, scope)));
    }
    case K::Binary: {
      const Value left = evaluate(*node.children[0], scope);
      const Value right = evaluate(*node.children[1], scope);
      line_ = node.line;
      return binary(node.operations[0], left, right, budget_);
    }
    case K::Unary:
      return unary(node.operations[0], evaluate(*node.children[0], scope));
    case K::Comparison:
      return evaluate_comparison(node, scope);
    case K::And: {
      Value left = evaluate(*node.children[0], scope);
      return truthy(left) ? evaluate(*node.children[1], scope) : left;
    }
    case K::Or: {
      Value left = evaluate(*node.children[0], scope);
      return truthy(left) ? left : evaluate(*node.children[1], scope);
    }
    case K::Not:
      return Value(!truthy(evaluate(*node.children[0], scope)));
    case K::Concat:
      return evaluate_concat(node, scope);
    case K::Conditional:
      return evaluate_conditional(node, scope);
    case K::Slice:
    case K::NamespaceAttribute:
      break;
  }
  fault("a slice stands where a value is needed");
}

Value Interpreter::evaluate_name(const Expression& node, const Scope& scope) {
  for (const Scope* from = &scope; from != nullptr; from = from->parent) {
    for (const auto& [symbol, value] : from->values) {
      if (symbol == node.symbol) return value;
    }
  }
  const auto& given = variables_[static_cast<std::size_t>(node.symbol)];
  return given ? *given : Value::undefined(fmt::format("'{}' is undefined", node.name));
}

Value Interpreter::evaluate_items(const Expression& node, Scope& scope) {
  Values items;
  items.reserve(node.children.size());
  for (const ExpressionPtr& child : node.children) items.push_back(evaluate(*child, scope));
  budget_.make(items.size() * sizeof(Value) + sizeof(Sequence));
  return node.kind == Expression::Kind::List ? Value::list(std::move(items)) : Value::tuple(std::move(items));
}

Value Interpreter::evaluate_dict(const Expression& node, Scope& scope) {
  auto dict = std::make_shared<Dict>();
  budget_.make(node.children.size() * 2 * sizeof(Value) + sizeof(Dict));
  for (std::size_t i = 0; i + 1 < node.children.size(); i += 2) {
    Value key = evaluate(*node.children[i], scope);
    dict->set(std::move(key), evaluate(*node.children[i + 1], scope));
  }
  return Value(std::shared_ptr<const Dict>(std::move(dict)));
}

Value Interpreter::evaluate_item(const Expression& node, Scope& scope) {
  if (node.children[1]->kind == Expression::Kind::Slice) return evaluate_slice(node, scope);
  const Value object = evaluate(*node.children[0], scope);
  const Value key = evaluate(*node.children[1], scope);
  line_ = node.line;
  return item(object, key);
}

Value Interpreter::evaluate_slice(const Expression& node, Scope& scope) {
  const Value object = evaluate(*node.children[0], scope);
  Values parts;
  for (const ExpressionPtr& part : node.children[1]->children) {
    parts.push_back(part ? evaluate(*part, scope) : Value::none());
  }
  line_ = node.line;
  require_defined(object);
  if (auto found = slice(object, parts[0], parts[1], parts[2], budget_)) return *std::move(found);
  fault("'{}' object is not subscriptable by a slice", type_name(object));
}

Arguments Interpreter::evaluate_arguments(const CallArguments& arguments, Scope& scope) {
  Arguments out;
  for (const ExpressionPtr& argument : arguments.positional) {
    out.positional.push_back(evaluate(*argument, scope));
  }
  if (arguments.more_positional) {
    Values more = items_of(evaluate(*arguments.more_positional, scope), budget_);
    std::move(more.begin(), more.end(), std::back_inserter(out.positional));
  }
  for (const auto& [name, argument] : arguments.named)
    out.named.emplace_back(name, evaluate(*argument, scope));
  if (arguments.more_named) {
    const Value more = evaluate(*arguments.more_named, scope);
    if (!more.is(Kind::Dict)) fault("argument after ** must be a mapping, not {}", type_name(more));
    for (const auto& [key, value] : more.dict().entries()) {
      if (!key.is_string()) fault("keywords must be strings");
      for (const auto& [name, known] : out.named) {
        if (name == key.string()) fault("got multiple values for keyword argument '{}'", name);
      }
      if (out.named.size() >= 1000) fault("a call with more than 1000 keyword arguments");
      out.named.emplace_back(key.string(), value);
    }
  }
  return out;
}

Value Interpreter::evaluate_call(const Expression& node, Scope& scope, const Value* caller) {
  const Value callee = evaluate(*node.children[0], scope);
  Arguments arguments = evaluate_arguments(*node.arguments, scope);
  if (caller != nullptr) arguments.named.emplace_back("caller", *caller);
  line_ = node.line;
  return call(callee, std::move(arguments));
}

Value Interpreter::evaluate_filter(const Expression& node, Scope& scope, const Value* input) {
  // The innermost filter of a chain that a block is sent through has no expression below it.
  const Expression* below = node.children.empty() ? nullptr : node.children[0].get();
  Value value;
  if (below == nullptr) {
    if (input == nullptr) fault("a filter has nothing to filter");
    value = *input;
  } else if (input != nullptr && below->kind == Expression::Kind::Filter) {
    value = evaluate_filter(*below, scope, input);
  } else {
    value = evaluate(*below, scope);
  }
  Arguments arguments = evaluate_arguments(*node.arguments, scope);
  line_ = node.line;
  return filter(node.name, value, std::move(arguments));
}

Value Interpreter::evaluate_comparison(const Expression& node, Scope& scope) {
  Value left = evaluate(*node.children[0], scope);
  for (std::size_t i = 0; i < node.operations.size(); ++i) {
    Value right = evaluate(*node.children[i + 1], scope);
    line_ = node.line;
    if (!compare(node.operations[i], left, right, budget_)) return Value(false);
    left = std::move(right);
  }
  return Value(true);
}

Value Interpreter::evaluate_concat(const Expression& node, Scope& scope) {
  std::string out;
  for (const ExpressionPtr& child : node.children) out += str(evaluate(*child, scope), budget_);
  return text(std::move(out));
}

Value Interpreter::evaluate_conditional(const Expression& node, Scope& scope) {
  if (truthy(evaluate(*node.children[1], scope))) return evaluate(*node.children[0], scope);
  if (node.children[2]) return evaluate(*node.children[2], scope);
  return Value::undefined(fmt::format(
      "the inline if-expression on line {} evaluated to false and no else section was defined.", node.line));
}

}  // namespace thinkey::jinja
