#include "tokenizer/pre_tokenizer.h"

#include <array>
#include <cstdint>
#include <limits>
#include <new>
#include <string>
#include <utility>

#include "base/fail.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

namespace thinkey {

namespace {

// White_Space written out: PCRE2's own \s also holds U+180E, which Unicode took out of the property
// and which the models' libraries do not count either.
#define SPACES \
  R"(\x{9}-\x{d}\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})"
#define SPACE "[" SPACES "]"

constexpr std::string_view kGpt2 = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+)"
                                   "| ?[^" SPACES R"(\p{L}\p{N}]+)"
                                   "|" SPACE "+(?![^" SPACES "])|" SPACE "+";

constexpr std::string_view kLlama3 = R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3})"
                                     "| ?[^" SPACES R"(\p{L}\p{N}]+[\r\n]*)"
                                     "|" SPACE R"(*[\r\n]+)"
                                     "|" SPACE "+(?![^" SPACES "])|" SPACE "+";

#undef SPACE
#undef SPACES

struct Choice {
  std::string_view name;
  std::array<std::string_view, 4> patterns;
};

constexpr std::array<Choice, 4> kChoices{{
    {"llama-bpe", {kLlama3}},
    {"smollm", {R"(\p{N})", kGpt2}},
    {"gpt-2", {kGpt2}},
    {"default", {R"([\p{P}$+<=>^~|]+)", kGpt2, R"(\p{N}+)", "[0-9][0-9][0-9]"}},
}};

}  // namespace

// One compiled expression. Matches and the gaps between them both become pre-tokens.
class PreTokenizer::Pattern {
 public:
  explicit Pattern(std::string_view expression)
      : context_(pcre2_match_context_create(nullptr), &pcre2_match_context_free) {
    int error = 0;
    PCRE2_SIZE offset = 0;
    code_.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(expression.data()), expression.size(),
                              PCRE2_UTF | PCRE2_UCP, &error, &offset, nullptr));
    if (!code_ || !context_) {
      fail_data("tokenizer: PCRE2 refuses the pre-tokenizer's expression ({} at {}); it needs UTF support",
                message(error), offset);
    }
    pcre2_jit_compile(code_.get(), PCRE2_JIT_COMPLETE);  // where it cannot, the interpreter serves
    // The expressions are ours and backtrack at most once over a run; the limit guards against others.
    pcre2_set_match_limit(context_.get(), std::numeric_limits<std::uint32_t>::max());
  }

  void split(std::string_view text, std::vector<std::string_view>& parts) const {
    const Match match(pcre2_match_data_create(1, nullptr), &pcre2_match_data_free);
    if (!match) throw std::bad_alloc();
    std::size_t at = 0;  // everything before it has become a part
    while (at < text.size() && find(text, at, match.get())) {
      const PCRE2_SIZE* const range = pcre2_get_ovector_pointer(match.get());
      if (range[0] < at || range[1] <= range[0]) break;
      if (range[0] > at) parts.push_back(text.substr(at, range[0] - at));
      parts.push_back(text.substr(range[0], range[1] - range[0]));
      at = range[1];
    }
    if (at < text.size()) parts.push_back(text.substr(at));
  }

 private:
  using Code = std::unique_ptr<pcre2_code, decltype(&pcre2_code_free)>;
  using Context = std::unique_ptr<pcre2_match_context, decltype(&pcre2_match_context_free)>;
  using Match = std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)>;

  [[nodiscard]] bool find(std::string_view text, std::size_t from, pcre2_match_data* match) const {
    // Validated before; checking again at every match would be quadratic.
    const auto attempt = [&](std::uint32_t options) {
      return pcre2_match(code_.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), from,
                         options | PCRE2_NO_UTF_CHECK, match, context_.get());
    };
    int result = attempt(0);
    if (result == PCRE2_ERROR_JIT_STACKLIMIT) result = attempt(PCRE2_NO_JIT);
    if (result < 0 && result != PCRE2_ERROR_NOMATCH) {
      fail_data("tokenizer: splitting the text failed: {}", message(result));
    }
    return result >= 0;
  }

  static std::string message(int error) {
    std::array<PCRE2_UCHAR, 128> buffer{};
    if (pcre2_get_error_message(error, buffer.data(), buffer.size()) < 0) return std::to_string(error);
    return reinterpret_cast<const char*>(buffer.data());
  }

  Code code_{nullptr, &pcre2_code_free};
  Context context_;
};

PreTokenizer::PreTokenizer(std::string_view name) {
  if (name.empty()) name = "default";
  for (const Choice& choice : kChoices) {
    if (choice.name != name) continue;
    for (const std::string_view pattern : choice.patterns) {
      if (!pattern.empty()) patterns_.push_back(std::make_unique<const Pattern>(pattern));
    }
    return;
  }
  fail_data("tokenizer: unknown pre-tokenizer \"{}\" (known: llama-bpe, smollm, gpt-2, default)", name);
}

PreTokenizer::~PreTokenizer() = default;

std::vector<std::string_view> PreTokenizer::split(std::string_view text) const {
  std::vector<std::string_view> parts;
  if (!text.empty()) parts.push_back(text);
  for (const auto& pattern : patterns_) {
    std::vector<std::string_view> finer;
    finer.reserve(parts.size());
    for (const std::string_view part : parts) pattern->split(part, finer);
    parts = std::move(finer);
  }
  return parts;
}

}  // namespace thinkey
