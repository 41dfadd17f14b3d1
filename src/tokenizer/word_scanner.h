// The expressions that most byte-pair tokenizers share, executed by hand: several times as fast as PCRE2,
// and tested to be equal to it.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

namespace thinkey {

class WordScanner {
 public:
  // nullopt when `expression` is none of the known ones.
  [[nodiscard]] static std::optional<WordScanner> for_expression(std::string_view expression);

  // Appends the words of `text` (valid UTF-8): matches, and what lies between them.
  void split(std::string_view text, std::vector<std::string_view>& words) const;

 private:
  enum class Form : unsigned char { Gpt2, Llama3, EveryNumber, Numbers, SpacesAtEnd };
  WordScanner(Form form, bool marks_are_letters, std::size_t numbers)
      : form_(form), marks_are_letters_(marks_are_letters), numbers_(numbers) {}

  template <Form form>
  void split_as(std::string_view text, std::vector<std::string_view>& words) const;

  Form form_;
  bool marks_are_letters_;
  std::size_t numbers_;  // Llama3: digits in a word
};

}  // namespace thinkey
