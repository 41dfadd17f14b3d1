// Functions that every template can call.
#include <array>
#include <chrono>
#include <ctime>

#include "jinja/objects.h"
#include "jinja/repr.h"

namespace thinkey::jinja {

namespace {

Value object(std::shared_ptr<Object> made) { return Value(std::move(made)); }

Value range(Interpreter& run, Arguments arguments) {
  for (const Value& value : arguments.positional) require_defined(value);
  if (!arguments.named.empty()) fault("range() takes no keyword arguments");
  const std::size_t count = arguments.positional.size();
  if (count < 1 || count > 3) fault("range() takes 1 to 3 arguments ({} given)", count);
  std::array<std::int64_t, 3> parts = {0, 0, 1};
  for (std::size_t i = 0; i < count; ++i) {
    const Value& value = arguments.positional[i];
    if (!value.is_integral()) fault("'{}' object cannot be interpreted as an integer", type_name(value));
    parts[count == 1 ? 1 : i] = value.integer();
  }
  const auto [start, stop, step] = parts;
  if (step == 0) fault("range() arg 3 must not be zero");
  Values items;
  for (std::int64_t i = start; step > 0 ? i < stop : i > stop;) {
    if (items.size() >= static_cast<std::size_t>(kMostRange)) {
      fault("Range too big. The sandbox blocks ranges larger than MAX_RANGE ({}).", kMostRange);
    }
    items.emplace_back(i);
    if (__builtin_add_overflow(i, step, &i)) break;
  }
  run.budget().make(items.size() * sizeof(Value));
  return Value::view(step == 1 ? fmt::format("range({}, {})", start, stop)
                               : fmt::format("range({}, {}, {})", start, stop, step),
                     std::move(items));
}

// What dict() and namespace() take: a mapping or pairs, and keywords.
Dict gather(Interpreter& run, std::string_view name, Arguments arguments) {
  Dict dict;
  if (arguments.positional.size() > 1) {
    fault("{} expected at most 1 argument, got {}", name, arguments.positional.size());
  }
  if (!arguments.positional.empty()) {
    const Value& from = arguments.positional.front();
    if (from.is(Kind::Dict)) {
      run.budget().make(from.dict().size() * 2 * sizeof(Value));
      dict = from.dict();
    } else {
      require_defined(from);
      for (const Value& item : items_of(from, run.budget())) {
        const Values pair = items_of(item, run.budget());
        if (pair.size() != 2) fault("{}: a pair has {} items", name, pair.size());
        dict.set(pair[0], pair[1]);
      }
    }
  }
  for (auto& [key, value] : arguments.named) dict.set(key, std::move(value));
  return dict;
}

Value make_dict(Interpreter& run, Arguments arguments) {
  return Value(
      std::shared_ptr<const Dict>(std::make_shared<Dict>(gather(run, "dict", std::move(arguments)))));
}

Value make_namespace(Interpreter& run, Arguments arguments) {
  auto space = std::make_shared<Namespace>();
  run.keep(space);
  const Dict values = gather(run, "namespace", std::move(arguments));
  for (const auto& [key, value] : values.entries()) {
    if (!key.is_string()) fault("namespace: a name must be text");
    space->set(key.string(), value);
  }
  return object(space);
}

Value raise_exception(Interpreter& run, Arguments arguments) {
  const Bound bound("raise_exception", std::move(arguments), {"message"}, 1);
  throw Fault(str(bound.at(0), run.budget()));
}

Value strftime_now(Interpreter& run, Arguments arguments) {
  const Bound bound("strftime_now", std::move(arguments), {"format"}, 1);
  const auto format = bound.text(0);
  if (!format) fault("strftime() argument 1 must be str, not None");
  constexpr std::size_t kMostFormat = 1024;
  if (format->size() > kMostFormat || format->find('\0') != std::string::npos) {
    fault("strftime_now: the format is too long or holds a zero");
  }
  const auto clock = std::chrono::system_clock::now();
  const std::int64_t micros =
      run.now()
          ? 0
          : std::chrono::duration_cast<std::chrono::microseconds>(clock.time_since_epoch()).count() % 1000000;
  const std::time_t seconds =
      run.now() ? static_cast<std::time_t>(*run.now()) : std::chrono::system_clock::to_time_t(clock);
  std::tm time{};
  if (::localtime_r(&seconds, &time) == nullptr) fault("strftime_now: the time is out of range");
  // Python's own letters: microseconds, and a clock that knows no zone.
  std::string wanted;
  for (std::size_t i = 0; i < format->size(); ++i) {
    const char letter = (*format)[i] == '%' && i + 1 < format->size() ? (*format)[++i] : '\0';
    if (letter == '\0') {
      wanted += (*format)[i];
    } else if (letter == 'f') {
      wanted += fmt::format("{:06}", micros);
    } else if (letter != 'z' && letter != 'Z') {
      wanted += '%';
      wanted += letter;
    }
  }
  if (wanted.empty()) return run.text({});
  std::string out(64 * kMostFormat, '\0');
  out.resize(std::strftime(out.data(), out.size(), wanted.c_str(), &time));
  return run.text(std::move(out));
}

class Cycler : public Object {
 public:
  Cycler(Values items, int depth) : Object(depth), items_(std::move(items)) {}
  [[nodiscard]] std::string type_name() const override { return "Cycler"; }
  [[nodiscard]] std::optional<Value> attribute(Interpreter& /*run*/, std::string_view name) override {
    if (name == "current") return items_[at_];
    if (name == "pos") return Value(static_cast<std::int64_t>(at_));
    return std::nullopt;
  }
  Value next() {
    Value value = items_[at_];
    at_ = (at_ + 1) % items_.size();
    return value;
  }
  void reset() { at_ = 0; }

 private:
  Values items_;
  std::size_t at_ = 0;
};

// cycler(...).next() and .reset(): bound to the cycler they came from.
class CyclerHandle : public Object {
 public:
  explicit CyclerHandle(std::shared_ptr<Cycler> cycler)
      : Object(cycler->depth()), cycler_(std::move(cycler)) {}
  [[nodiscard]] std::string type_name() const override { return "Cycler"; }
  [[nodiscard]] std::optional<Value> attribute(Interpreter& run, std::string_view name) override {
    if (name == "next") {
      return object(std::make_shared<Function>(
          "next", [cycler = cycler_](Interpreter&, Arguments) { return cycler->next(); }, depth()));
    }
    if (name == "reset") {
      return object(std::make_shared<Function>(
          "reset",
          [cycler = cycler_](Interpreter&, Arguments) {
            cycler->reset();
            return Value::none();
          },
          depth()));
    }
    return cycler_->attribute(run, name);
  }

 private:
  std::shared_ptr<Cycler> cycler_;
};

Value make_cycler(Interpreter& run, Arguments arguments) {
  if (arguments.positional.empty()) fault("at least one item has to be provided");
  const Value items = run.list(std::move(arguments.positional));
  return object(std::make_shared<CyclerHandle>(std::make_shared<Cycler>(items.items(), items.depth())));
}

Value make_joiner(Interpreter& /*run*/, Arguments arguments) {
  const Bound bound("joiner", std::move(arguments), {"sep"});
  const Value separator = bound.has(0) ? bound.at(0) : Value(std::string(", "));
  return object(std::make_shared<Function>(
      "joiner",
      [separator, used = std::make_shared<bool>(false)](Interpreter&, Arguments) {
        return std::exchange(*used, true) ? separator : Value(std::string());
      },
      separator.depth() + 1));
}

}  // namespace

std::optional<Value> find_global(std::string_view name) {
  using Body = Value (*)(Interpreter&, Arguments);
  static constexpr std::array<std::pair<std::string_view, Body>, 7> kGlobals{{
      {"range", range},
      {"dict", make_dict},
      {"namespace", make_namespace},
      {"raise_exception", raise_exception},
      {"strftime_now", strftime_now},
      {"cycler", make_cycler},
      {"joiner", make_joiner},
  }};
  for (const auto& [known, body] : kGlobals) {
    if (known == name) return object(std::make_shared<Function>(std::string(name), body));
  }
  if (name == "lipsum") {
    return object(std::make_shared<Function>(
        "lipsum", [](Interpreter&, Arguments) -> Value { fault("lipsum is not supported"); }));
  }
  return std::nullopt;
}

}  // namespace thinkey::jinja
