#include "tokenizer/regex.h"

#include <array>
#include <cstdint>
#include <new>
#include <string>

#include "base/fail.h"
#include "formats/printable.h"
#include "tokenizer/regex_syntax.h"
#include "tokenizer/utf8.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

namespace thinkey {
namespace {

// Expressions of tokenizers backtrack once over a run of characters.
constexpr std::uint32_t kMostSteps = 20'000'000;

std::string message(int error) {
  std::array<PCRE2_UCHAR, 128> buffer{};
  if (pcre2_get_error_message(error, buffer.data(), buffer.size()) < 0) return std::to_string(error);
  return reinterpret_cast<const char*>(buffer.data());
}

}  // namespace

struct Regex::Compiled {
  std::unique_ptr<pcre2_code, decltype(&pcre2_code_free)> code{nullptr, &pcre2_code_free};
  std::unique_ptr<pcre2_match_context, decltype(&pcre2_match_context_free)> context{
      pcre2_match_context_create(nullptr), &pcre2_match_context_free};
};

Regex::Regex(std::string_view expression) {
  auto compiled = std::make_unique<Compiled>();
  const std::string translated = to_pcre2(expression);
  int error = 0;
  PCRE2_SIZE offset = 0;
  compiled->code.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                                     PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C,
                                     &error, &offset, nullptr));
  if (!compiled->context) throw std::bad_alloc();
  if (!compiled->code) {
    fail_data("tokenizer: the expression \"{}\" is not valid: {}", printable(expression, 200),
              message(error));
  }
  pcre2_jit_compile(compiled->code.get(), PCRE2_JIT_COMPLETE);  // where it cannot, the interpreter serves
  pcre2_set_match_limit(compiled->context.get(), kMostSteps);
  compiled_ = std::move(compiled);
}

Regex::~Regex() = default;
Regex::Regex(Regex&&) noexcept = default;

std::optional<Regex::Match> Regex::next(std::string_view text, Cursor& cursor) const {
  struct Block {
    std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)> data{
        pcre2_match_data_create(1, nullptr), &pcre2_match_data_free};
  };
  static thread_local const Block block;
  if (!block.data) throw std::bad_alloc();
  while (cursor.at <= text.size()) {
    // Validated before; checking again at every match would be quadratic.
    const auto attempt = [&](std::uint32_t options) {
      return pcre2_match(compiled_->code.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(),
                         cursor.at, options | PCRE2_NO_UTF_CHECK, block.data.get(), compiled_->context.get());
    };
    int result = attempt(0);
    if (result == PCRE2_ERROR_JIT_STACKLIMIT) result = attempt(PCRE2_NO_JIT);
    if (result == PCRE2_ERROR_NOMATCH) break;
    if (result < 0) fail_data("tokenizer: splitting the text failed: {}", message(result));
    const PCRE2_SIZE* const range = pcre2_get_ovector_pointer(block.data.get());
    const Match match{range[0], range[1]};
    if (match.end < match.start || match.start < cursor.at) {
      fail_data("tokenizer: an expression matches backwards");
    }
    const bool repeats = match.start == match.end && cursor.last_end == match.end;
    cursor.last_end = match.end;
    cursor.at = match.end;
    if (!repeats) return match;
    cursor.at += match.end < text.size() ? next_utf8(text.substr(match.end)).bytes : 1;
  }
  cursor.at = text.size() + 1;
  return std::nullopt;
}

}  // namespace thinkey
