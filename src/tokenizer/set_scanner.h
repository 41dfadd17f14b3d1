// Expressions that are a run of one set of characters, executed without PCRE2: many such passes over short
// words cost mostly its calls.
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <string_view>
#include <vector>

namespace thinkey {

class SetScanner {
 public:
  // For [set], [set]+, \s?[set] and \s?[set]+, whose set lists characters and ranges, not classes and not
  // what it excludes; nullopt for all others.
  [[nodiscard]] static std::optional<SetScanner> for_expression(std::string_view expression);

  // Appends the words of `text` (valid UTF-8): matches, and what lies between them.
  void split(std::string_view text, std::vector<std::string_view>& words) const;

 private:
  struct Range {
    char32_t first, last;
  };
  // Length of the character at `at` if it belongs to the set, else 0.
  [[nodiscard]] std::size_t member(const char* at) const noexcept {
    const auto byte = static_cast<unsigned char>(*at);
    return byte < ascii_.size() ? static_cast<std::size_t>(ascii_[byte]) : wide_member(at);
  }
  [[nodiscard]] std::size_t wide_member(const char* at) const noexcept;
  // Length of the match at `at`; 0: none.
  [[nodiscard]] std::size_t match(const char* at, const char* end) const noexcept;

  std::array<bool, 128> ascii_{};
  std::array<bool, 256> begins_{};  // bytes that a match may begin with
  std::vector<Range> ranges_;       // of other characters, ascending
  bool after_space_ = false;        // \s? before it
  bool repeats_ = false;            // +
};

}  // namespace thinkey
