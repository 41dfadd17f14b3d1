#include <algorithm>
#include <array>

#include "jinja/methods.h"
#include "jinja/operators.h"
#include "jinja/repr.h"
#include "jinja/string_format.h"
#include "jinja/unicode.h"

namespace thinkey::jinja {

namespace {

// Methods of Markup give Markup, and text that goes into it is escaped.
Value like(Interpreter& run, const Value& self, std::string_view text) {
  return run.text(std::string(text), self.text().markup);
}

std::string argument_text(const Value& self, const Value& argument, std::string_view function) {
  require_defined(argument);
  if (!argument.is_string()) fault("{}() argument must be str, not {}", function, type_name(argument));
  return self.text().markup ? as_markup(argument) : argument.string();
}

// start and end of find(), count(), startswith(), ... as byte offsets.
struct Window {
  std::size_t begin = 0, end = 0;
  std::int64_t first = 0;  // `begin` in characters
  bool valid = true;       // begin <= end
};

Window window(const Value& self, const Bound& bound, std::size_t start_index) {
  const auto size = static_cast<std::int64_t>(self.text().length);
  const auto clipped = [&](std::size_t index, std::int64_t otherwise) {
    if (!bound.has(index) || bound.at(index).is_none()) return otherwise;
    const std::int64_t at = bound.integer(index, otherwise);
    return at < 0 ? std::max(at + size, std::int64_t{0}) : at;
  };
  const std::int64_t start = clipped(start_index, 0);
  const std::int64_t stop = std::min(clipped(start_index + 1, size), size);
  if (start > stop) return {.valid = false};
  return {.begin = offset_of(self.string(), static_cast<std::size_t>(start)),
          .end = offset_of(self.string(), static_cast<std::size_t>(stop)),
          .first = start};
}

Value find(Interpreter& run, const Value& self, std::string_view name, Arguments arguments) {
  const Bound bound(name, std::move(arguments), {"sub", "start", "end"}, 1);
  const std::string needle = argument_text(self, bound.at(0), name);
  const Window part = window(self, bound, 1);
  const bool from_right = name.starts_with('r');
  std::size_t at = std::string_view::npos;
  if (part.valid) {
    const std::string_view text = std::string_view(self.string()).substr(part.begin, part.end - part.begin);
    if (!from_right) {
      at = find_text(text, needle, 0, run.budget());
    } else if (needle.empty()) {
      at = text.size();
    } else {
      for (std::size_t next = find_text(text, needle, 0, run.budget()); next != std::string_view::npos;
           next = find_text(text, needle, next + 1, run.budget())) {
        at = next;
      }
    }
    if (at != std::string_view::npos) {
      run.budget().scan(at);
      return Value(part.first + static_cast<std::int64_t>(count_characters(text.substr(0, at))));
    }
  }
  if (name.ends_with("index")) fault("substring not found");
  return Value(std::int64_t{-1});
}

Value count(Interpreter& run, const Value& self, Arguments arguments) {
  const Bound bound("count", std::move(arguments), {"sub", "start", "end"}, 1);
  const std::string needle = argument_text(self, bound.at(0), "count");
  const Window part = window(self, bound, 1);
  if (!part.valid) return Value(std::int64_t{0});
  const std::string_view text = std::string_view(self.string()).substr(part.begin, part.end - part.begin);
  if (needle.empty()) return Value(static_cast<std::int64_t>(count_characters(text)) + 1);
  std::int64_t found = 0;
  for (std::size_t at = find_text(text, needle, 0, run.budget()); at != std::string_view::npos;
       at = find_text(text, needle, at + needle.size(), run.budget())) {
    ++found;
  }
  return Value(found);
}

Value starts_or_ends(Interpreter& run, const Value& self, std::string_view name, Arguments arguments) {
  const Bound bound(name, std::move(arguments), {"prefix", "start", "end"}, 1);
  const Window part = window(self, bound, 1);
  const Value& wanted = bound.at(0);
  require_defined(wanted);
  if (!wanted.is_string() && !wanted.is(Kind::Tuple)) {
    fault("{} first arg must be str or a tuple of str, not {}", name, type_name(wanted));
  }
  const Values options = wanted.is_string() ? Values{wanted} : wanted.items();
  const std::string_view text =
      part.valid ? std::string_view(self.string()).substr(part.begin, part.end - part.begin)
                 : std::string_view();
  for (const Value& option : options) {
    if (!option.is_string()) fault("tuple for {} must only contain str, not {}", name, type_name(option));
    run.budget().scan(option.string().size());
    const std::string& piece = option.string();
    if (part.valid && (name == "startswith" ? text.starts_with(piece) : text.ends_with(piece))) {
      return Value(true);
    }
  }
  return Value(false);
}

Value strip_method(Interpreter& run, const Value& self, std::string_view name, Arguments arguments) {
  const Bound bound(name, std::move(arguments), {"chars"});
  const Ends ends = name == "strip" ? Ends::Both : name == "lstrip" ? Ends::Left : Ends::Right;
  if (!bound.has(0) || bound.at(0).is_none()) return like(run, self, strip(self.string(), ends));
  const std::string set = argument_text(self, bound.at(0), name);
  run.budget().scan(self.string().size() * std::min<std::size_t>(set.size(), 1000));
  if (set.size() > 1000) fault("{}: more than 1000 characters to strip", name);
  return like(run, self, strip(self.string(), set, ends));
}

void add_piece(Interpreter& run, const Value& self, std::string_view piece, Values& out) {
  run.budget().make(sizeof(Value));
  out.push_back(like(run, self, piece));
}

// By runs of whitespace.
Values split_words(Interpreter& run, const Value& self, std::int64_t most, bool from_right) {
  Values out;
  std::string_view rest = strip(self.string(), from_right ? Ends::Right : Ends::Left);
  run.budget().scan(rest.size());
  while (!rest.empty()) {
    if (most >= 0 && static_cast<std::int64_t>(out.size()) >= most) {
      add_piece(run, self, rest, out);
      break;
    }
    std::size_t at = 0;
    if (from_right) {
      at = rest.size();
      while (at > 0) {
        std::size_t last = at - 1;
        while (last > 0 && (static_cast<unsigned char>(rest[last]) & 0xC0U) == 0x80U) --last;
        if (is_space(character_at(rest, last))) break;
        at = last;
      }
      add_piece(run, self, rest.substr(at), out);
      rest = strip(rest.substr(0, at), Ends::Right);
    } else {
      while (at < rest.size() && !is_space(character_at(rest, at))) at += character_bytes(rest, at);
      add_piece(run, self, rest.substr(0, at), out);
      rest = strip(rest.substr(at), Ends::Left);
    }
  }
  return out;
}

Values split_by(Interpreter& run, const Value& self, const std::string& separator, std::int64_t most,
                bool from_right) {
  if (separator.empty()) fault("empty separator");
  const std::string_view text = self.string();
  Values out;
  if (!from_right) {
    std::size_t begin = 0;
    while (most < 0 || static_cast<std::int64_t>(out.size()) < most) {
      const std::size_t at = find_text(text, separator, begin, run.budget());
      if (at == std::string_view::npos) break;
      add_piece(run, self, text.substr(begin, at - begin), out);
      begin = at + separator.size();
    }
    add_piece(run, self, text.substr(begin), out);
    return out;
  }
  std::size_t end = text.size();
  while (end >= separator.size() && (most < 0 || static_cast<std::int64_t>(out.size()) < most)) {
    std::size_t at = end - separator.size() + 1;
    while (at-- > 0 && text.substr(at, separator.size()) != separator) run.budget().scan(separator.size());
    if (at == std::string_view::npos) break;
    add_piece(run, self, text.substr(at + separator.size(), end - at - separator.size()), out);
    end = at;
  }
  add_piece(run, self, text.substr(0, end), out);
  return out;
}

Value split(Interpreter& run, const Value& self, std::string_view name, Arguments arguments) {
  const Bound bound(name, std::move(arguments), {"sep", "maxsplit"});
  const std::int64_t most = bound.integer(1, -1);
  const bool from_right = name == "rsplit";
  const bool by_words = !bound.has(0) || bound.at(0).is_none();
  Values out = by_words ? split_words(run, self, most, from_right)
                        : split_by(run, self, argument_text(self, bound.at(0), name), most, from_right);
  if (from_right) std::reverse(out.begin(), out.end());
  return run.list(std::move(out));
}

Value partition(Interpreter& run, const Value& self, std::string_view name, Arguments arguments) {
  const Bound bound(name, std::move(arguments), {"sep"}, 1);
  const std::string separator = argument_text(self, bound.at(0), name);
  const bool from_right = name == "rpartition";
  Values parts = split_by(run, self, separator, 1, from_right);
  if (from_right) std::reverse(parts.begin(), parts.end());
  const Value empty = like(run, self, "");
  if (parts.size() == 1) {
    return Value::tuple(from_right ? Values{empty, empty, parts[0]} : Values{parts[0], empty, empty});
  }
  return Value::tuple({parts[0], like(run, self, separator), parts[1]});
}

Value split_lines(Interpreter& run, const Value& self, Arguments arguments) {
  const Bound bound("splitlines", std::move(arguments), {"keepends"});
  const std::string& text = self.string();
  run.budget().scan(text.size());
  Values out;
  std::size_t begin = 0;
  for (std::size_t at = 0; at < text.size();) {
    const char32_t c = character_at(text, at);
    std::size_t end = at + character_bytes(text, at);
    const bool ends_line =
        (c >= 0xA && c <= 0xD) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 || c == 0x2029;
    if (ends_line) {
      if (c == '\r' && end < text.size() && text[end] == '\n') ++end;
      const std::size_t shown = bound.flag(0) ? end : at;
      add_piece(run, self, std::string_view(text).substr(begin, shown - begin), out);
      begin = end;
    }
    at = end;
  }
  if (begin < text.size()) add_piece(run, self, std::string_view(text).substr(begin), out);
  return run.list(std::move(out));
}

Value replace(Interpreter& run, const Value& self, Arguments arguments) {
  const Bound bound("replace", std::move(arguments), {"old", "new", "count"}, 2);
  return replace_text(run, self, argument_text(self, bound.at(0), "replace"),
                      argument_text(self, bound.at(1), "replace"), bound.integer(2, -1));
}

Value join(Interpreter& run, const Value& self, Arguments arguments) {
  const Bound bound("join", std::move(arguments), {"iterable"}, 1);
  std::string out;
  bool first = true;
  for (const Value& item : items_of(bound.at(0), run.budget())) {
    if (!std::exchange(first, false)) {
      run.budget().make(self.string().size());
      out += self.string();
    }
    if (!item.is_string()) fault("sequence item: expected str instance, {} found", type_name(item));
    run.budget().make(item.string().size());
    out += self.text().markup ? as_markup(item) : item.string();
  }
  return run.text(std::move(out), self.text().markup);
}

Value pad(Interpreter& run, const Value& self, std::string_view name, Arguments arguments) {
  const Bound bound(name, std::move(arguments), {"width", "fillchar"}, 1);
  const std::string fill = bound.has(1) ? argument_text(self, bound.at(1), name) : " ";
  if (count_characters(fill) != 1) fault("The fill character must be exactly one character long");
  const std::int64_t missing = bound.integer(0, 0) - static_cast<std::int64_t>(self.text().length);
  if (missing <= 0) return self;
  // Python's center() puts the odd one to the left when the width is odd too.
  const std::int64_t left = name == "rjust"   ? missing
                            : name == "ljust" ? 0
                                              : missing / 2 + (missing & bound.integer(0, 0) & 1);
  const auto filling = [&](std::int64_t times) {
    return binary(Operation::Multiply, Value(fill), Value(times), run.budget()).string();
  };
  return like(run, self, filling(left) + self.string() + filling(missing - left));
}

Value zero_fill(Interpreter& run, const Value& self, Arguments arguments) {
  const Bound bound("zfill", std::move(arguments), {"width"}, 1);
  const std::int64_t missing = bound.integer(0, 0) - static_cast<std::int64_t>(self.text().length);
  if (missing <= 0) return self;
  std::string text = self.string();
  const bool has_sign = text.starts_with('-') || text.starts_with('+');
  text.insert(has_sign ? 1 : 0,
              binary(Operation::Multiply, Value(std::string("0")), Value(missing), run.budget()).string());
  return like(run, self, text);
}

Value expand_tabs(Interpreter& run, const Value& self, Arguments arguments) {
  const Bound bound("expandtabs", std::move(arguments), {"tabsize"});
  const std::int64_t size = bound.integer(0, 8);
  if (size > 1000) fault("expandtabs: a tab of more than 1000 columns");
  std::string out;
  std::int64_t column = 0;
  for (const char c : self.string()) {
    if (c == '\t') {
      const std::int64_t spaces = size > 0 ? size - column % size : 0;
      run.budget().make(static_cast<std::size_t>(spaces));
      out.append(static_cast<std::size_t>(spaces), ' ');
      column += spaces;
    } else {
      out += c;
      if ((static_cast<unsigned char>(c) & 0xC0U) != 0x80U) column = c == '\n' || c == '\r' ? 0 : column + 1;
    }
  }
  return like(run, self, out);
}

template <typename Check>
bool all_characters(const std::string& text, const Check& check, bool when_empty = false) {
  if (text.empty()) return when_empty;
  for (std::size_t at = 0; at < text.size(); at += character_bytes(text, at)) {
    if (!check(character_at(text, at))) return false;
  }
  return true;
}

bool is_title(const std::string& text) {
  bool any = false;
  bool within = false;
  for (std::size_t at = 0; at < text.size(); at += character_bytes(text, at)) {
    const char32_t c = character_at(text, at);
    if (is_upper(c) ? within : (is_lower(c) && !within)) return false;
    within = is_upper(c) || is_lower(c);
    any = any || within;
  }
  return any;
}

bool is_identifier(const std::string& text) {
  return !text.empty() && !is_numeric(character_at(text, 0)) && all_characters(text, is_word);
}

// The questions a string answers about itself.
bool answer(const std::string& text, std::string_view name) {
  if (name == "isalpha") return all_characters(text, is_alpha);
  if (name == "isalnum") return all_characters(text, [](char32_t c) { return is_alpha(c) || is_numeric(c); });
  if (name == "isdecimal") return all_characters(text, is_decimal);
  if (name == "isdigit") {
    return all_characters(text, [](char32_t c) {
      return is_decimal(c) || c == 0xB2 || c == 0xB3 || c == 0xB9 || c == 0x2070 ||
             (c >= 0x2074 && c <= 0x2079) || (c >= 0x2080 && c <= 0x2089);
    });
  }
  if (name == "isnumeric") return all_characters(text, is_numeric);
  if (name == "isspace") return all_characters(text, is_space);
  if (name == "isprintable") return all_characters(text, is_printable, true);
  if (name == "isascii")
    return all_characters(
        text, [](char32_t c) { return c < 0x80; }, true);
  if (name == "istitle") return is_title(text);
  if (name == "isidentifier") return is_identifier(text);
  const bool upper = name == "isupper";
  bool any = false;
  for (std::size_t at = 0; at < text.size(); at += character_bytes(text, at)) {
    const char32_t c = character_at(text, at);
    if (upper ? is_lower(c) : is_upper(c)) return false;
    any = any || (upper ? is_upper(c) : is_lower(c));
  }
  return any;
}

Value remove_affix(Interpreter& run, const Value& self, std::string_view name, Arguments arguments) {
  const Bound bound(name, std::move(arguments), {"affix"}, 1);
  const std::string affix = argument_text(self, bound.at(0), name);
  std::string_view text = self.string();
  if (name == "removeprefix") {
    if (text.starts_with(affix)) text.remove_prefix(affix.size());
  } else if (text.ends_with(affix)) {
    text.remove_suffix(affix.size());
  }
  return like(run, self, text);
}

Value change_case(Interpreter& run, const Value& self, std::string_view name, const Arguments& arguments) {
  if (!arguments.empty()) fault("str.{}() takes no arguments", name);
  const std::string& text = self.string();
  run.budget().scan(16 * text.size());
  if (name == "upper") return like(run, self, to_upper(text));
  if (name == "lower" || name == "casefold") return like(run, self, to_lower(text));
  if (name == "title") return like(run, self, to_title(text));
  if (name == "capitalize") return like(run, self, capitalize(text));
  return like(run, self, swap_case(text));
}

}  // namespace

Value replace_text(Interpreter& run, const Value& self, const std::string& old, const std::string& with,
                   std::int64_t most) {
  const std::string& text = self.string();
  std::string out;
  std::size_t begin = 0;
  std::int64_t done = 0;
  const auto add = [&](std::size_t end) {
    run.budget().make(end - begin + with.size());
    out.append(text, begin, end - begin);
    begin = end;
  };
  if (old.empty()) {
    // Between all characters, and at both ends.
    for (std::size_t at = 0; at <= text.size() && (most < 0 || done < most); ++done) {
      add(at);
      out += with;
      at += at < text.size() ? character_bytes(text, at) : 1;
    }
  } else {
    for (; most < 0 || done < most; ++done) {
      const std::size_t at = find_text(text, old, begin, run.budget());
      if (at == std::string_view::npos) break;
      add(at);
      out += with;
      begin = at + old.size();
    }
  }
  if (begin < text.size()) add(text.size());
  return run.text(std::move(out), self.text().markup);
}

Value call_string_method(Interpreter& run, const Value& self, std::string_view name, Arguments arguments) {
  if (name == "format") return brace_format(run, self, arguments);
  if (name == "format_map") {
    const Bound bound(name, std::move(arguments), {"mapping"}, 1);
    if (!bound.at(0).is(Kind::Dict)) fault("format_map() takes a mapping");
    Arguments named;
    for (const auto& [key, value] : bound.at(0).dict().entries()) {
      if (key.is_string()) named.named.emplace_back(key.string(), value);
    }
    return brace_format(run, self, named);
  }
  if (name == "find" || name == "rfind" || name == "index" || name == "rindex") {
    return find(run, self, name, std::move(arguments));
  }
  if (name == "split" || name == "rsplit") return split(run, self, name, std::move(arguments));
  if (name == "strip" || name == "lstrip" || name == "rstrip") {
    return strip_method(run, self, name, std::move(arguments));
  }
  if (name == "startswith" || name == "endswith")
    return starts_or_ends(run, self, name, std::move(arguments));
  if (name == "replace") return replace(run, self, std::move(arguments));
  if (name == "join") return join(run, self, std::move(arguments));
  if (name == "count") return count(run, self, std::move(arguments));
  if (name == "splitlines") return split_lines(run, self, std::move(arguments));
  if (name == "partition" || name == "rpartition") return partition(run, self, name, std::move(arguments));
  if (name == "removeprefix" || name == "removesuffix") {
    return remove_affix(run, self, name, std::move(arguments));
  }
  if (name == "center" || name == "ljust" || name == "rjust")
    return pad(run, self, name, std::move(arguments));
  if (name == "zfill") return zero_fill(run, self, std::move(arguments));
  if (name == "expandtabs") return expand_tabs(run, self, std::move(arguments));
  if (name.starts_with("is")) {
    if (!arguments.empty()) fault("str.{}() takes no arguments", name);
    run.budget().scan(4 * self.string().size());
    return Value(answer(self.string(), name));
  }
  return change_case(run, self, name, arguments);
}

}  // namespace thinkey::jinja
