#include "jinja/objects.h"

#include "jinja/methods.h"
#include "jinja/repr.h"

namespace thinkey::jinja {

Method::Method(Value self, std::string name)
    : Object(self.depth() + 1), self_(std::move(self)), name_(std::move(name)) {}

Value Method::call(Interpreter& run, Arguments arguments) {
  return call_method(run, self_, name_, std::move(arguments));
}

std::optional<Value> Namespace::attribute(Interpreter& /*run*/, std::string_view name) {
  const Value* found = values_.find(name);
  return found == nullptr ? std::nullopt : std::optional<Value>(*found);
}

void Namespace::set(const std::string& name, Value value) {
  if (name.starts_with("_")) {
    fault("Chat templates cannot store underscore-prefixed attributes on a namespace, but got '{}'.", name);
  }
  values_.set(name, std::move(value));
}

std::optional<Value> Macro::attribute(Interpreter& run, std::string_view name) {
  if (name == "name") return Value(code_.name);
  if (name == "catch_kwargs") return Value(code_.uses_kwargs);
  if (name == "catch_varargs") return Value(code_.uses_varargs);
  if (name == "caller") return Value(code_.uses_caller);
  if (name != "arguments") return std::nullopt;
  Values names;
  for (const MacroCode::Parameter& parameter : code_.parameters) names.push_back(run.text(parameter.name));
  return Value::tuple(std::move(names));
}

std::string Loop::repr() const { return fmt::format("<LoopContext {}/{}>", index_ + 1, items_->size()); }

std::optional<Value> Loop::attribute(Interpreter& /*run*/, std::string_view name) {
  const auto index = static_cast<std::int64_t>(index_);
  const auto size = static_cast<std::int64_t>(items_->size());
  if (name == "index") return Value(index + 1);
  if (name == "index0") return Value(index);
  if (name == "revindex") return Value(size - index);
  if (name == "revindex0") return Value(size - index - 1);
  if (name == "first") return Value(index == 0);
  if (name == "last") return Value(index + 1 == size);
  if (name == "length") return Value(size);
  if (name == "depth") return Value(std::int64_t{nesting_} + 1);
  if (name == "depth0") return Value(std::int64_t{nesting_});
  if (name == "previtem") {
    return index == 0 ? Value::undefined("there is no previous item") : (*items_)[index_ - 1];
  }
  if (name == "nextitem") {
    return index + 1 == size ? Value::undefined("there is no next item") : (*items_)[index_ + 1];
  }
  if (name == "cycle") {
    return Value(std::static_pointer_cast<Object>(
        std::make_shared<Function>("cycle", [at = index_](Interpreter& /*run*/, Arguments arguments) {
          if (arguments.positional.empty()) fault("no items for cycling given");
          return arguments.positional[at % arguments.positional.size()];
        })));
  }
  if (name == "changed") {
    return Value(std::static_pointer_cast<Object>(std::make_shared<Function>(
        "changed",
        [self = shared_from_this()](Interpreter& run, Arguments arguments) {
          return self->changed(run, std::move(arguments.positional));
        },
        depth() + 1)));
  }
  return std::nullopt;
}

Value Loop::changed(Interpreter& run, Values values) {
  std::string now = repr_of(Value::tuple(std::move(values)), run);
  const bool differs = last_changed_ != now;
  last_changed_ = std::move(now);
  return Value(differs);
}

std::string Loop::repr_of(const Value& value, Interpreter& run) {
  return thinkey::jinja::repr(value, run.budget());
}

Value Loop::call(Interpreter& run, Arguments arguments) {
  if (again_ == nullptr) fault("The loop must have the 'recursive' marker to be called recursively.");
  const Bound bound("loop", std::move(arguments), {"iterable"}, 1);
  return run.run_loop_again(*again_, *scope_, bound.at(0), nesting_ + 1);
}

}  // namespace thinkey::jinja
