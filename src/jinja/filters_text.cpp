// Filters that give text.
#include <algorithm>
#include <array>
#include <utility>

#include "jinja/filters.h"
#include "jinja/methods.h"
#include "jinja/operators.h"
#include "jinja/repr.h"
#include "jinja/string_format.h"
#include "jinja/unicode.h"

namespace thinkey::jinja {

namespace {

// markupsafe's soft_str: text stays what it is, everything else is printed.
Value soft_text(Interpreter& run, const Value& value) {
  return value.is_string() ? value : run.text(str(value, run.budget()));
}

Value method(Interpreter& run, const Value& input, std::string_view name) {
  return call_string_method(run, soft_text(run, input), name, {});
}

Value upper(Interpreter& run, const Value& input, Arguments arguments) {
  const Bound bound("upper", std::move(arguments), {});
  return method(run, input, "upper");
}
Value lower(Interpreter& run, const Value& input, Arguments arguments) {
  const Bound bound("lower", std::move(arguments), {});
  return method(run, input, "lower");
}
Value capitalize_filter(Interpreter& run, const Value& input, Arguments arguments) {
  const Bound bound("capitalize", std::move(arguments), {});
  return method(run, input, "capitalize");
}

// Words begin after spaces, hyphens and opening brackets, unlike str.title().
Value title(Interpreter& run, const Value& input, Arguments arguments) {
  const Bound bound("title", std::move(arguments), {});
  const Value value = soft_text(run, input);
  const std::string& text = value.string();
  run.budget().scan(16 * text.size());
  std::string out;
  const auto separates = [&](std::size_t at) {
    const char32_t c = character_at(text, at);
    return is_space(c) || c == '-' || c == '(' || c == '{' || c == '[' || c == '<';
  };
  for (std::size_t at = 0; at < text.size();) {
    const bool between = separates(at);
    const std::size_t begin = at;
    while (at < text.size() && separates(at) == between) at += character_bytes(text, at);
    const std::string_view part = std::string_view(text).substr(begin, at - begin);
    const std::size_t first = character_bytes(part, 0);
    out += to_upper(part.substr(0, first));
    out += to_lower(part.substr(first));
  }
  return run.text(std::move(out));
}

Value trim(Interpreter& run, const Value& input, Arguments arguments) {
  const Bound bound("trim", std::move(arguments), {"chars"});
  Arguments chars;
  if (bound.has(0)) chars.positional.push_back(bound.at(0));
  return call_string_method(run, soft_text(run, input), "strip", std::move(chars));
}

Value string(Interpreter& run, const Value& input, Arguments arguments) {
  const Bound bound("string", std::move(arguments), {});
  return soft_text(run, input);
}

Value safe(Interpreter& run, const Value& input, Arguments arguments) {
  const Bound bound("safe", std::move(arguments), {});
  return run.text(str(input, run.budget()), true);
}

Value escape(Interpreter& run, const Value& input, Arguments arguments) {
  const Bound bound("escape", std::move(arguments), {});
  if (input.is_string() && input.text().markup) return input;
  const std::string text = str(input, run.budget());
  run.budget().make(5 * text.size());
  return run.text(escape_html(text), true);
}

Value force_escape(Interpreter& run, const Value& input, Arguments arguments) {
  const Bound bound("forceescape", std::move(arguments), {});
  const std::string text = str(input, run.budget());
  run.budget().make(5 * text.size());
  return run.text(escape_html(text), true);
}

Value replace(Interpreter& run, const Value& input, Arguments arguments) {
  const Bound bound("replace", std::move(arguments), {"old", "new", "count"}, 2);
  const bool counts = bound.has(2) && !bound.at(2).is_none();
  return replace_text(run, Value(str(input, run.budget())), str(bound.at(0), run.budget()),
                      str(bound.at(1), run.budget()), counts ? bound.integer(2, -1) : -1);
}

Value join(Interpreter& run, const Value& input, Arguments arguments) {
  const Bound bound("join", std::move(arguments), {"d", "attribute"});
  const std::string separator = bound.has(0) ? str(bound.at(0), run.budget()) : std::string();
  const AttributeGetter get(bound.find(1));
  std::string out;
  bool first = true;
  for (const Value& item : items_of(input, run.budget())) {
    if (!std::exchange(first, false)) {
      run.budget().make(separator.size());
      out += separator;
    }
    out += str(get(run, item), run.budget());
  }
  return run.text(std::move(out));
}

Value indent(Interpreter& run, const Value& input, Arguments arguments) {
  const Bound bound("indent", std::move(arguments), {"width", "first", "blank"});
  require_defined(input);
  if (!input.is_string()) fault("indent: expected text, got {}", type_name(input));
  const bool by_text = bound.has(0) && bound.at(0).is_string();
  const std::string margin =
      by_text ? bound.at(0).string()
              : binary(Operation::Multiply, Value(std::string(" ")), Value(bound.integer(0, 4)), run.budget())
                    .string();
  const Value lines = call_string_method(run, Value(input.string() + "\n"), "splitlines", {});
  std::string out;
  for (std::size_t i = 0; i < lines.items().size(); ++i) {
    const std::string& line = lines.items()[i].string();
    run.budget().make(margin.size() + line.size() + 1);
    if (i > 0) out += '\n';
    if (i == 0 ? bound.flag(1) : bound.flag(2) || !line.empty()) out += margin;
    out += line;
  }
  return run.text(std::move(out), input.text().markup);
}

Value to_json_filter(Interpreter& run, const Value& input, Arguments arguments) {
  const Bound bound("tojson", std::move(arguments), {"ensure_ascii", "indent", "separators", "sort_keys"});
  JsonStyle style;
  style.ensure_ascii = bound.flag(0);
  style.sort_keys = bound.flag(3);
  if (bound.has(1) && !bound.at(1).is_none()) {
    const Value& given = bound.at(1);
    require_defined(given);
    if (given.is_string()) {
      style.indent = given.string();
    } else if (given.is_integral()) {
      if (given.integer() > 1000) fault("tojson: an indent of more than 1000");
      style.indent = std::string(static_cast<std::size_t>(std::max(given.integer(), std::int64_t{0})), ' ');
    } else {
      fault("tojson: indent must be a number or text");
    }
    style.item_separator.assign(1, ',');
  }
  if (bound.has(2) && !bound.at(2).is_none()) {
    const Values parts = items_of(bound.at(2), run.budget());
    if (parts.size() != 2 || !parts[0].is_string() || !parts[1].is_string()) {
      fault("tojson: separators must be two texts");
    }
    style.item_separator = parts[0].string();
    style.key_separator = parts[1].string();
  }
  return run.text(to_json(input, style, run.budget()));
}

Value center(Interpreter& run, const Value& input, Arguments arguments) {
  const Bound bound("center", std::move(arguments), {"width"});
  Arguments width;
  width.positional.emplace_back(bound.integer(0, 80));
  return call_string_method(run, soft_text(run, input), "center", std::move(width));
}

Value format(Interpreter& run, const Value& input, Arguments arguments) {
  if (!arguments.positional.empty() && !arguments.named.empty()) {
    fault("can't handle positional and keyword arguments at the same time");
  }
  const Value text = soft_text(run, input);
  if (arguments.named.empty()) {
    return percent_format(text, Value::tuple(std::move(arguments.positional)), run.budget());
  }
  auto dict = std::make_shared<Dict>();
  for (auto& [name, value] : arguments.named) dict->set(name, std::move(value));
  return percent_format(text, Value(std::shared_ptr<const Dict>(std::move(dict))), run.budget());
}

Value truncate(Interpreter& run, const Value& input, Arguments arguments) {
  const Bound bound("truncate", std::move(arguments), {"length", "killwords", "end", "leeway"});
  require_defined(input);
  if (!input.is_string()) fault("object of type '{}' cannot be truncated", type_name(input));
  const std::string end = bound.has(2) ? str(bound.at(2), run.budget()) : "...";
  const std::int64_t size = bound.integer(0, 255);
  const std::int64_t leeway = bound.has(3) && !bound.at(3).is_none() ? bound.integer(3, 5) : 5;
  const auto end_size = static_cast<std::int64_t>(count_characters(end));
  if (size < end_size) fault("expected length >= {}, got {}", end_size, size);
  if (leeway < 0) fault("expected leeway >= 0, got {}", leeway);
  const std::string& text = input.string();
  if (static_cast<std::int64_t>(input.text().length) - leeway <= size) return input;
  std::string out = text.substr(0, offset_of(text, static_cast<std::size_t>(size - end_size)));
  if (!bound.flag(1)) out = out.substr(0, out.rfind(' '));
  return run.text(out + end);
}

Value url_encode(Interpreter& run, const Value& input, Arguments arguments) {
  const Bound bound("urlencode", std::move(arguments), {});
  if (!input.is_string()) fault("urlencode of a {} is not supported", type_name(input));
  std::string out;
  for (const char c : input.string()) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       std::string_view("-._~/").find(c) != std::string_view::npos;
    run.budget().make(3);
    out += plain ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return run.text(std::move(out));
}

Value word_count(Interpreter& run, const Value& input, Arguments arguments) {
  const Bound bound("wordcount", std::move(arguments), {});
  const Value value = soft_text(run, input);
  const std::string& text = value.string();
  run.budget().scan(4 * text.size());
  std::int64_t words = 0;
  bool within = false;
  for (std::size_t at = 0; at < text.size(); at += character_bytes(text, at)) {
    const bool word = is_word(character_at(text, at));
    words += word && !within ? 1 : 0;
    within = word;
  }
  return Value(words);
}

}  // namespace

Filter find_text_filter(std::string_view name) {
  static constexpr std::array<std::pair<std::string_view, Filter>, 20> kFilters{{
      {"capitalize", capitalize_filter},
      {"center", center},
      {"e", escape},
      {"escape", escape},
      {"forceescape", force_escape},
      {"format", format},
      {"indent", indent},
      {"join", join},
      {"lower", lower},
      {"replace", replace},
      {"safe", safe},
      {"string", string},
      {"title", title},
      {"tojson", to_json_filter},
      {"trim", trim},
      {"truncate", truncate},
      {"upper", upper},
      {"urlencode", url_encode},
      {"wordcount", word_count},
      {"", nullptr},
  }};
  for (const auto& [known, filter] : kFilters) {
    if (known == name) return filter;
  }
  return nullptr;
}

}  // namespace thinkey::jinja
