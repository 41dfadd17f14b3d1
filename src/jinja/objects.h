// Objects with a state or behaviour of their own.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "jinja/interpreter.h"

namespace thinkey::jinja {

// A function of the program's own.
class Function : public Object {
 public:
  using Body = std::function<Value(Interpreter& run, Arguments arguments)>;
  Function(std::string name, Body body, int depth = 0)
      : Object(depth), name_(std::move(name)), body_(std::move(body)) {}
  [[nodiscard]] std::string type_name() const override { return "function"; }
  [[nodiscard]] bool callable() const override { return true; }
  [[nodiscard]] Value call(Interpreter& run, Arguments arguments) override {
    return body_(run, std::move(arguments));
  }

 private:
  std::string name_;
  Body body_;
};

// value.name where `name` is a method of the value's type.
class Method : public Object {
 public:
  Method(Value self, std::string name);
  [[nodiscard]] std::string type_name() const override { return "builtin_function_or_method"; }
  [[nodiscard]] bool callable() const override { return true; }
  [[nodiscard]] Value call(Interpreter& run, Arguments arguments) override;

 private:
  Value self_;
  std::string name_;
};

class Namespace : public Droppable {
 public:
  [[nodiscard]] std::string type_name() const override { return "Namespace"; }
  [[nodiscard]] std::optional<Value> attribute(Interpreter& run, std::string_view name) override;
  void set(const std::string& name, Value value);  // Fault for names that begin with an underscore
  void drop() override { values_ = Dict(); }

 private:
  Dict values_;
};

class Macro : public Object {
 public:
  Macro(const MacroCode& code, Scope& scope) : code_(code), scope_(scope) {}
  [[nodiscard]] std::string type_name() const override { return "Macro"; }
  [[nodiscard]] std::string repr() const override { return "<Macro '" + code_.name + "'>"; }
  [[nodiscard]] std::optional<Value> attribute(Interpreter& run, std::string_view name) override;
  [[nodiscard]] bool callable() const override { return true; }
  [[nodiscard]] Value call(Interpreter& run, Arguments arguments) override {
    return run.call_macro(code_, scope_, std::move(arguments));
  }

 private:
  const MacroCode& code_;
  Scope& scope_;
};

// The variable `loop`.
class Loop : public Object, public std::enable_shared_from_this<Loop> {
 public:
  // `again`: the statement of a recursive loop and the scope around it; or null.
  Loop(std::shared_ptr<const Values> items, int items_depth, int nesting, const Statement* again,
       Scope* scope)
      : Object(items_depth + 1), items_(std::move(items)), nesting_(nesting), again_(again), scope_(scope) {}
  void advance(std::size_t index) { index_ = index; }

  [[nodiscard]] std::string type_name() const override { return "LoopContext"; }
  [[nodiscard]] std::string repr() const override;
  [[nodiscard]] std::optional<Value> attribute(Interpreter& run, std::string_view name) override;
  [[nodiscard]] bool callable() const override { return true; }
  [[nodiscard]] Value call(Interpreter& run, Arguments arguments) override;

 private:
  [[nodiscard]] Value changed(Interpreter& run, Values values);
  [[nodiscard]] static std::string repr_of(const Value& value, Interpreter& run);

  std::shared_ptr<const Values> items_;
  std::size_t index_ = 0;
  int nesting_;
  const Statement* again_;
  Scope* scope_;
  std::optional<std::string> last_changed_;  // as printed
};

// Global functions: range, namespace, dict, raise_exception, strftime_now, cycler, joiner. nullopt: unknown.
[[nodiscard]] std::optional<Value> find_global(std::string_view name);

}  // namespace thinkey::jinja
