// Runs a parsed template.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "jinja/arguments.h"
#include "jinja/ast.h"
#include "jinja/value.h"

namespace thinkey::jinja {

// Variables of a block. Inner scopes see the outer ones' and cannot change them.
struct Scope {
  Scope* parent = nullptr;
  bool captured = false;  // a macro refers to it: it lives as long as the rendering
  std::vector<std::pair<Symbol, Value>> values;

  void set(Symbol symbol, Value value);
};

class Interpreter {
 public:
  // `now`: seconds since 1970 that strftime_now tells; nullopt: the clock's.
  Interpreter(const Program& program, const Dict& variables, Budget& budget, std::optional<std::int64_t> now);
  ~Interpreter();
  Interpreter(const Interpreter&) = delete;
  Interpreter& operator=(const Interpreter&) = delete;

  [[nodiscard]] std::string run();
  [[nodiscard]] int line() const noexcept { return line_; }  // that was being executed

  [[nodiscard]] Budget& budget() noexcept { return budget_; }
  [[nodiscard]] std::optional<std::int64_t> now() const noexcept { return now_; }

  // Text and lists that are paid for.
  [[nodiscard]] Value text(std::string text, bool markup = false);
  [[nodiscard]] Value list(Values items);

  [[nodiscard]] Value attribute(const Value& object, std::string_view name);  // object.name
  [[nodiscard]] Value item(const Value& object, const Value& key);            // object[key]
  [[nodiscard]] Value call(const Value& callee, Arguments arguments);
  [[nodiscard]] Value filter(const std::string& name, const Value& input, Arguments arguments);
  [[nodiscard]] bool test(const std::string& name, const Value& input, Arguments arguments);

  // For objects: a macro's and a recursive loop's body.
  [[nodiscard]] Value call_macro(const MacroCode& macro, Scope& scope, Arguments arguments);
  [[nodiscard]] Value run_loop_again(const Statement& loop, Scope& scope, const Value& items, int depth);
  // Namespaces may refer to themselves, so they are emptied at the end.
  void keep(std::weak_ptr<Object> object);

 private:
  enum class Flow : std::uint8_t { Next, Break, Continue };
  class InnerScope;

  Flow execute(const Statements& body, Scope& scope, std::string& out);
  Flow execute(const Statement& statement, Scope& scope, std::string& out);
  Flow execute_if(const Statement& statement, Scope& scope, std::string& out);
  void execute_for(const Statement& statement, Scope& scope, std::string& out);
  void run_loop(const Statement& statement, Scope& scope, Values items, int depth, std::string& out);
  void execute_set(const Statement& statement, Scope& scope);
  void execute_set_block(const Statement& statement, Scope& scope);
  void execute_filter_block(const Statement& statement, Scope& scope, std::string& out);
  void execute_call_block(const Statement& statement, Scope& scope, std::string& out);
  Flow execute_with(const Statement& statement, Scope& scope, std::string& out);
  void execute_inner(const Statements& body, Scope& parent, std::string& out);
  void write(const Value& value, std::string& out);
  void assign(const Expression& target, const Value& value, Scope& scope);
  [[nodiscard]] Value make_macro(const MacroCode& macro, Scope& scope);
  void capture(Scope& scope);

  [[nodiscard]] Value evaluate(const Expression& node, Scope& scope);
  [[nodiscard]] Value evaluate_name(const Expression& node, const Scope& scope);
  [[nodiscard]] Value evaluate_items(const Expression& node, Scope& scope);
  [[nodiscard]] Value evaluate_dict(const Expression& node, Scope& scope);
  [[nodiscard]] Value evaluate_item(const Expression& node, Scope& scope);
  [[nodiscard]] Value evaluate_slice(const Expression& node, Scope& scope);
  [[nodiscard]] Value evaluate_call(const Expression& node, Scope& scope, const Value* caller);
  [[nodiscard]] Value evaluate_filter(const Expression& node, Scope& scope, const Value* input);
  [[nodiscard]] Value evaluate_comparison(const Expression& node, Scope& scope);
  [[nodiscard]] Value evaluate_concat(const Expression& node, Scope& scope);
  [[nodiscard]] Value evaluate_conditional(const Expression& node, Scope& scope);
  [[nodiscard]] Arguments evaluate_arguments(const CallArguments& arguments, Scope& scope);

  const Program& program_;
  Budget& budget_;
  std::optional<std::int64_t> now_;
  int line_ = 1;
  Scope root_;
  std::vector<std::optional<Value>> variables_;      // per symbol: what the caller gives, and globals
  std::vector<std::unique_ptr<Scope>> kept_scopes_;  // captured ones that were left
  std::vector<std::shared_ptr<Object>> kept_objects_;
};

// Namespaces: objects whose content can be dropped.
class Droppable : public Object {
 public:
  using Object::Object;
  virtual void drop() = 0;
};

}  // namespace thinkey::jinja
