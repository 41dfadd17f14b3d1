#include <algorithm>
#include <memory>

#include "jinja/interpreter.h"
#include "jinja/objects.h"
#include "jinja/repr.h"

namespace thinkey::jinja {

// A scope within another one, kept beyond its block when a macro refers to it.
class Interpreter::InnerScope {
 public:
  InnerScope(Interpreter& run, Scope& parent) : run_(run), scope_(std::make_unique<Scope>()) {
    scope_->parent = &parent;
  }
  ~InnerScope() {
    if (scope_->captured) run_.kept_scopes_.push_back(std::move(scope_));
  }
  InnerScope(const InnerScope&) = delete;
  InnerScope& operator=(const InnerScope&) = delete;

  Scope& operator*() noexcept { return *scope_; }
  Scope* operator->() noexcept { return scope_.get(); }

 private:
  Interpreter& run_;
  std::unique_ptr<Scope> scope_;
};

void Interpreter::capture(Scope& scope) {
  for (Scope* at = &scope; at != nullptr && !at->captured; at = at->parent) {
    budget_.make(512);
    at->captured = true;
  }
}

Interpreter::Flow Interpreter::execute(const Statements& body, Scope& scope, std::string& out) {
  for (const Statement& statement : body) {
    const Flow flow = execute(statement, scope, out);
    if (flow != Flow::Next) return flow;
  }
  return Flow::Next;
}

Interpreter::Flow Interpreter::execute(const Statement& statement, Scope& scope, std::string& out) {
  const Budget::Level level(budget_);
  budget_.step();
  line_ = statement.line;
  using K = Statement::Kind;
  switch (statement.kind) {
    case K::Data:
      budget_.make(statement.text.size());
      out += statement.text;
      break;
    case K::Output:
      write(evaluate(*statement.expression, scope), out);
      break;
    case K::If:
      return execute_if(statement, scope, out);
    case K::For:
      execute_for(statement, scope, out);
      break;
    case K::Set:
      execute_set(statement, scope);
      break;
    case K::SetBlock:
      execute_set_block(statement, scope);
      break;
    case K::Macro:
      scope.set(statement.symbol, make_macro(*statement.macro, scope));
      break;
    case K::CallBlock:
      execute_call_block(statement, scope, out);
      break;
    case K::FilterBlock:
      execute_filter_block(statement, scope, out);
      break;
    case K::With:
      return execute_with(statement, scope, out);
    case K::Block:
      execute_inner(statement.body, statement.scoped ? scope : root_, out);
      break;
    case K::Scope:
      execute_inner(statement.body, scope, out);
      break;
    case K::Break:
      return Flow::Break;
    case K::Continue:
      return Flow::Continue;
  }
  return Flow::Next;
}

void Interpreter::write(const Value& value, std::string& out) {
  if (value.is_string()) {
    budget_.make(value.string().size());
    out += value.string();
  } else {
    const std::string text = str(value, budget_);
    budget_.make(text.size());
    out += text;
  }
}

void Interpreter::execute_inner(const Statements& body, Scope& parent, std::string& out) {
  InnerScope inner(*this, parent);
  static_cast<void>(execute(body, *inner, out));
}

Interpreter::Flow Interpreter::execute_if(const Statement& statement, Scope& scope, std::string& out) {
  for (const Statement::Branch& branch : statement.branches) {
    if (!branch.condition || truthy(evaluate(*branch.condition, scope))) {
      return execute(branch.body, scope, out);
    }
  }
  return Flow::Next;
}

void Interpreter::execute_for(const Statement& statement, Scope& scope, std::string& out) {
  const Value items = evaluate(*statement.expression, scope);
  line_ = statement.line;
  run_loop(statement, scope, items_of(items, budget_), 0, out);
}

void Interpreter::run_loop(const Statement& statement, Scope& scope, Values items, int depth,
                           std::string& out) {
  if (statement.condition) {
    Values chosen;
    for (Value& item : items) {
      InnerScope inner(*this, scope);
      assign(*statement.target, item, *inner);
      if (truthy(evaluate(*statement.condition, *inner))) chosen.push_back(std::move(item));
    }
    items = std::move(chosen);
  }
  if (items.empty()) {
    if (!statement.otherwise.empty()) execute_inner(statement.otherwise, scope, out);
    return;
  }
  int items_depth = 0;
  for (const Value& item : items) items_depth = std::max(items_depth, item.depth());
  if (items_depth + 2 > kMostValueDepth) fault("values are nested deeper than {} levels", kMostValueDepth);
  if (statement.recursive) capture(scope);
  const auto shared = std::make_shared<const Values>(std::move(items));
  const auto loop =
      std::make_shared<Loop>(shared, items_depth, depth, statement.recursive ? &statement : nullptr,
                             statement.recursive ? &scope : nullptr);
  const Value loop_value{std::static_pointer_cast<Object>(loop)};
  for (std::size_t i = 0; i < shared->size(); ++i) {
    budget_.step();
    InnerScope inner(*this, scope);
    loop->advance(i);
    inner->values.emplace_back(program_.loop, loop_value);
    assign(*statement.target, (*shared)[i], *inner);
    if (execute(statement.body, *inner, out) == Flow::Break) break;
  }
}

Value Interpreter::run_loop_again(const Statement& loop, Scope& scope, const Value& items, int depth) {
  std::string out;
  run_loop(loop, scope, items_of(items, budget_), depth, out);
  return text(std::move(out));
}

void Interpreter::assign(const Expression& target, const Value& value, Scope& scope) {
  switch (target.kind) {
    case Expression::Kind::Name:
      scope.set(target.symbol, value);
      return;
    case Expression::Kind::NamespaceAttribute: {
      Expression name;
      name.symbol = target.symbol;
      const Value place = evaluate_name(name, scope);
      auto* const space = place.is(Kind::Object) ? dynamic_cast<Namespace*>(&place.object()) : nullptr;
      if (space == nullptr) fault("cannot assign attribute on non-namespace object");
      budget_.make(128 + target.name.size());
      space->set(target.name, value);
      return;
    }
    default: {
      const Values items = items_of(value, budget_);
      if (value.is_undefined()) require_defined(value);
      if (items.size() != target.children.size()) {
        fault("{} values to unpack (expected {}, got {})",
              items.size() < target.children.size() ? "not enough" : "too many", target.children.size(),
              items.size());
      }
      for (std::size_t i = 0; i < items.size(); ++i) assign(*target.children[i], items[i], scope);
    }
  }
}

void Interpreter::execute_set(const Statement& statement, Scope& scope) {
  const Value value = evaluate(*statement.expression, scope);
  line_ = statement.line;
  assign(*statement.target, value, scope);
}

void Interpreter::execute_set_block(const Statement& statement, Scope& scope) {
  InnerScope inner(*this, scope);
  std::string out;
  static_cast<void>(execute(statement.body, *inner, out));
  Value value = text(std::move(out));
  if (statement.expression) value = evaluate_filter(*statement.expression, *inner, &value);
  assign(*statement.target, value, scope);
}

void Interpreter::execute_filter_block(const Statement& statement, Scope& scope, std::string& out) {
  InnerScope inner(*this, scope);
  std::string body;
  static_cast<void>(execute(statement.body, *inner, body));
  const Value value = text(std::move(body));
  write(evaluate_filter(*statement.expression, *inner, &value), out);
}

void Interpreter::execute_call_block(const Statement& statement, Scope& scope, std::string& out) {
  const Value caller = make_macro(*statement.macro, scope);
  write(evaluate_call(*statement.expression, scope, &caller), out);
}

Interpreter::Flow Interpreter::execute_with(const Statement& statement, Scope& scope, std::string& out) {
  InnerScope inner(*this, scope);
  // Every value is made before any name is bound.
  Values values;
  for (const auto& [target, expression] : statement.assignments)
    values.push_back(evaluate(*expression, scope));
  for (std::size_t i = 0; i < values.size(); ++i) assign(*statement.assignments[i].first, values[i], *inner);
  return execute(statement.body, *inner, out);
}

Value Interpreter::make_macro(const MacroCode& macro, Scope& scope) {
  capture(scope);
  budget_.make(sizeof(Macro));
  return Value(std::static_pointer_cast<Object>(std::make_shared<Macro>(macro, scope)));
}

Value Interpreter::call_macro(const MacroCode& macro, Scope& scope, Arguments arguments) {
  InnerScope inner(*this, scope);
  const std::size_t count = macro.parameters.size();
  bool explicit_caller = false;
  std::vector<bool> given(count);
  for (std::size_t i = 0; i < count; ++i) {
    const MacroCode::Parameter& parameter = macro.parameters[i];
    explicit_caller = explicit_caller || parameter.symbol == program_.caller;
    if (i < arguments.positional.size()) {
      inner->set(parameter.symbol, arguments.positional[i]);
      given[i] = true;
      continue;
    }
    const auto named = std::find_if(arguments.named.begin(), arguments.named.end(),
                                    [&](const auto& entry) { return entry.first == parameter.name; });
    if (named == arguments.named.end()) continue;
    inner->set(parameter.symbol, named->second);
    given[i] = true;
    arguments.named.erase(named);
  }
  if (macro.uses_caller && !explicit_caller) {
    const auto named = std::find_if(arguments.named.begin(), arguments.named.end(),
                                    [](const auto& entry) { return entry.first == "caller"; });
    const bool has = named != arguments.named.end();
    inner->set(program_.caller, has ? named->second : Value::undefined("No caller defined"));
    if (has) arguments.named.erase(named);
  }
  if (macro.uses_kwargs) {
    auto dict = std::make_shared<Dict>();
    for (auto& [name, value] : arguments.named) dict->set(name, std::move(value));
    inner->set(program_.kwargs, Value(std::shared_ptr<const Dict>(std::move(dict))));
  } else if (!arguments.named.empty()) {
    fault("macro '{}' takes no keyword argument '{}'", macro.name, arguments.named.front().first);
  }
  if (macro.uses_varargs) {
    Values rest;
    for (std::size_t i = count; i < arguments.positional.size(); ++i) {
      rest.push_back(std::move(arguments.positional[i]));
    }
    inner->set(program_.varargs, Value::tuple(std::move(rest)));
  } else if (arguments.positional.size() > count) {
    fault("macro '{}' takes not more than {} argument(s)", macro.name, count);
  }
  for (std::size_t i = 0; i < count; ++i) {
    const MacroCode::Parameter& parameter = macro.parameters[i];
    if (given[i]) continue;
    inner->set(parameter.symbol,
               parameter.otherwise
                   ? evaluate(*parameter.otherwise, *inner)
                   : Value::undefined(fmt::format("parameter '{}' was not provided", parameter.name)));
  }
  std::string out;
  static_cast<void>(execute(macro.body, *inner, out));
  return text(std::move(out));
}

}  // namespace thinkey::jinja
