#include "jinja/template.h"

#include <algorithm>

#include "base/fail.h"
#include "jinja/ast.h"
#include "jinja/interpreter.h"
#include "jinja/lexer.h"
#include "jinja/unicode.h"

namespace thinkey::jinja {

namespace {

constexpr std::size_t kMostSource = std::size_t{1} << 20U;
constexpr std::size_t kMostMessage = 500;

// A message on one line, whatever the template put into it.
std::string on_one_line(std::string_view message) {
  std::string out;
  for (const char c : message.substr(0, kMostMessage)) {
    const auto byte = static_cast<unsigned char>(c);
    out += byte < 0x20 || byte == 0x7F ? ' ' : c;
  }
  if (message.size() > kMostMessage) {
    while (!out.empty() && find_bad_utf8(out) != std::string::npos) out.pop_back();
    out += "...";
  }
  return out;
}

// Bytes of text in the variables.
std::size_t weight(const Value& value) {
  std::size_t total = 16;
  if (value.is_string()) {
    total += value.string().size();
  } else if (value.has_items()) {
    for (const Value& item : value.items()) total += weight(item);
  } else if (value.is(Kind::Dict)) {
    for (const auto& [key, item] : value.dict().entries()) total += weight(key) + weight(item);
  }
  return total;
}

}  // namespace

Template::Template(std::string_view source, std::string name) : name_(std::move(name)), size_(source.size()) {
  if (source.size() > kMostSource) fail_data("{}: chat template: more than 1 MiB", name_);
  if (const std::size_t bad = find_bad_utf8(source); bad != std::string_view::npos) {
    fail_data("{}: the chat template is not valid UTF-8 at byte {}", name_, bad);
  }
  try {
    program_ = std::make_unique<const Program>(parse(source));
  } catch (const SyntaxFault& error) {
    fail_data("{}: chat template, line {}: {}", name_, error.line, on_one_line(error.message));
  } catch (const Fault& error) {
    fail_data("{}: chat template: {}", name_, on_one_line(error.what()));
  }
}

Template::~Template() = default;
Template::Template(Template&&) noexcept = default;
Template& Template::operator=(Template&&) noexcept = default;

std::string Template::render(const Dict& variables, std::optional<std::int64_t> now,
                             const RenderLimits& limits) const {
  std::size_t input = size_;
  for (const auto& [key, value] : variables.entries()) input += weight(value);
  Budget budget(input, limits);
  Interpreter run(*program_, variables, budget, now);
  try {
    return run.run();
  } catch (const Fault& error) {
    fail_data("{}: chat template, line {}: {}", name_, run.line(), on_one_line(error.what()));
  }
}

}  // namespace thinkey::jinja
