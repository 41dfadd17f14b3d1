#include "tokenizer/word_scanner.h"

#include "formats/pre_tokenizer_table.h"
#include "tokenizer/characters.h"

namespace thinkey {
namespace {

using Class = CharacterClass;

constexpr char lower(char c) noexcept { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

// Length of "'s", "'re" and the like at the beginning of [at, end); 0: none. Capitals count with
// `any_case`, and so does U+017F, which folds to s.
std::size_t contraction(const char* at, const char* end, bool any_case) noexcept {
  if (end - at < 2 || *at != '\'') return 0;
  const auto letter = [&](int i) { return any_case ? lower(at[i]) : at[i]; };
  const char first = letter(1);
  if (first == 's' || first == 't' || first == 'm' || first == 'd') return 2;
  if (end - at < 3) return 0;
  if (any_case && at[1] == '\xC5' && at[2] == '\xBF') return 3;
  const char second = letter(2);
  const bool known =
      (first == 'r' && second == 'e') || (first == 'v' && second == 'e') || (first == 'l' && second == 'l');
  return known ? 3 : 0;
}

struct Scan {
  const char* end;
  bool marks_are_letters;

  [[nodiscard]] ClassStep look(const char* at) const noexcept {
    if (at >= end) return {Class::Newline, 0};  // ends every run but one of white space
    ClassStep step = next_class(at);
    if (step.cls == Class::Mark) step.cls = marks_are_letters ? Class::Letter : Class::Other;
    return step;
  }
  [[nodiscard]] const char* run(const char* at, Class cls) const noexcept {
    for (ClassStep step = look(at); step.cls == cls && step.bytes > 0; step = look(at)) at += step.bytes;
    return at;
  }

  // \s+(?!\S)|\s+: all of the white space, but its last character where something follows.
  [[nodiscard]] const char* spaces(const char* at, bool whole_lines) const noexcept {
    const char* last = at;       // where the last character begins
    const char* line = nullptr;  // behind the last newline
    const char* next = at;
    while (next < end) {
      const ClassStep step = look(next);
      if (step.cls != Class::Space && step.cls != Class::Newline) break;
      last = next;
      next += step.bytes;
      if (step.cls == Class::Newline) line = next;
    }
    if (whole_lines && line != nullptr) return line;
    return next == end || last == at ? next : last;
  }
};

// | ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|...
const char* next_gpt2(const char* at, const Scan& scan) noexcept {
  if (const std::size_t bytes = contraction(at, scan.end, false); bytes > 0) return at + bytes;
  const ClassStep first = scan.look(at);
  const char* body = at;
  Class cls = first.cls;
  if (*at == ' ') {
    body = at + 1;
    cls = body < scan.end ? scan.look(body).cls : Class::Space;
  }
  if (cls == Class::Space || cls == Class::Newline) return scan.spaces(at, false);
  return scan.run(body, cls);
}

// |[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,n}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|...
const char* next_llama3(const char* at, const Scan& scan, std::size_t numbers) noexcept {
  if (const std::size_t bytes = contraction(at, scan.end, true); bytes > 0) return at + bytes;
  const ClassStep first = scan.look(at);
  if (first.cls == Class::Letter) return scan.run(at + first.bytes, Class::Letter);
  if (first.cls == Class::Number) {
    const char* next = at + first.bytes;
    for (std::size_t i = 1; i < numbers; ++i) {
      const ClassStep step = scan.look(next);
      if (step.cls != Class::Number) break;
      next += step.bytes;
    }
    return next;
  }
  if (first.cls != Class::Newline) {
    const char* body = at + first.bytes;
    const Class second = body < scan.end ? scan.look(body).cls : Class::Space;
    if (second == Class::Letter) return scan.run(body, Class::Letter);
    if (first.cls == Class::Other || (*at == ' ' && second == Class::Other)) {
      return scan.run(scan.run(body, Class::Other), Class::Newline);
    }
  }
  return scan.spaces(at, true);
}

const char* next_number(const char* at, const Scan& scan, bool whole_run) noexcept {
  const ClassStep first = scan.look(at);
  if (first.cls == Class::Number) {
    at += first.bytes;
    return whole_run ? scan.run(at, Class::Number) : at;
  }
  while (at < scan.end) {
    const ClassStep step = scan.look(at);
    if (step.cls == Class::Number) break;
    at += step.bytes;
  }
  return at;
}

// \s+$, where $ is the text's end and every place before a newline.
const char* next_space_at_end(const char* at, const Scan& scan) noexcept {
  const char* start = at;      // of a run of white space
  const char* line = nullptr;  // the run's last newline but one at its start
  for (const char* next = at;;) {
    const ClassStep step = next < scan.end ? next_class(next) : ClassStep{Class::Other, 0};
    const bool space = step.bytes > 0 && (step.cls == Class::Space || step.cls == Class::Newline);
    if (space && *next == '\n' && next > start) line = next;
    if (!space) {
      const char* match = next > start ? (next == scan.end ? next : line) : nullptr;
      if (match != nullptr) return start > at ? start : match;
      if (next == scan.end) return next;
      start = next + step.bytes;
      line = nullptr;
    }
    next += step.bytes;
  }
}

}  // namespace

std::optional<WordScanner> WordScanner::for_expression(std::string_view expression) {
  if (expression == kGpt2Words) return WordScanner(Form::Gpt2, false, 0);
  if (expression == kLlama3Words) return WordScanner(Form::Llama3, false, 3);
  if (expression == kQwen2Words) return WordScanner(Form::Llama3, false, 1);
  if (expression == kQwen35Words) return WordScanner(Form::Llama3, true, 1);
  if (expression == kEveryNumber) return WordScanner(Form::EveryNumber, false, 1);
  if (expression == kNumbers) return WordScanner(Form::Numbers, false, 1);
  if (expression == kSpacesAtEnd) return WordScanner(Form::SpacesAtEnd, false, 0);
  return std::nullopt;
}

template <WordScanner::Form form>
void WordScanner::split_as(std::string_view text, std::vector<std::string_view>& words) const {
  const Scan scan{text.data() + text.size(), marks_are_letters_};
  for (const char* at = text.data(); at < scan.end;) {
    const char* next = nullptr;
    if constexpr (form == Form::Gpt2) next = next_gpt2(at, scan);
    if constexpr (form == Form::Llama3) next = next_llama3(at, scan, numbers_);
    if constexpr (form == Form::EveryNumber) next = next_number(at, scan, false);
    if constexpr (form == Form::Numbers) next = next_number(at, scan, true);
    if constexpr (form == Form::SpacesAtEnd) next = next_space_at_end(at, scan);
    words.emplace_back(at, static_cast<std::size_t>(next - at));
    at = next;
  }
}

void WordScanner::split(std::string_view text, std::vector<std::string_view>& words) const {
  switch (form_) {
    case Form::Gpt2:
      return split_as<Form::Gpt2>(text, words);
    case Form::Llama3:
      return split_as<Form::Llama3>(text, words);
    case Form::EveryNumber:
      return split_as<Form::EveryNumber>(text, words);
    case Form::Numbers:
      return split_as<Form::Numbers>(text, words);
    case Form::SpacesAtEnd:
      return split_as<Form::SpacesAtEnd>(text, words);
  }
}

}  // namespace thinkey
