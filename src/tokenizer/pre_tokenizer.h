// Splits a text into the words that pieces never cross, step by step as the model's file says.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "formats/tokenizer_data.h"
#include "tokenizer/regex.h"
#include "tokenizer/set_scanner.h"
#include "tokenizer/word_scanner.h"

namespace thinkey {

class PreTokenizer {
 public:
  struct Words {
    std::vector<std::string_view> words;  // in order, none empty
    std::deque<std::string> storage;      // of words that are not in the text itself
  };

  struct Options {
    bool scanners = true;        // the expressions written by hand; false for tests
    bool keep_alphabet = false;  // really write GPT-2's alphabet when it is the last step
  };
  // Throws Error(Data) for expressions that are wrong or not supported. Unless it is kept, a ByteAlphabet
  // at the end is left out: ends_in_bytes() says that the words' bytes stand for its characters.
  PreTokenizer(std::vector<SplitStep> steps, const Options& options);
  explicit PreTokenizer(std::vector<SplitStep> steps);

  [[nodiscard]] bool ends_in_bytes() const noexcept { return ends_in_bytes_; }
  [[nodiscard]] bool empty() const noexcept { return steps_.empty(); }

  // `text`: valid UTF-8; `at_start`: it begins the whole text. Replaces what `out` held.
  void split(std::string_view text, bool at_start, Words& out) const;

 private:
  struct Step {
    SplitStep description;
    std::optional<WordScanner> scanner;
    std::optional<SetScanner> set_scanner;
    std::optional<Regex> expression;
  };
  static void apply(const Step& step, bool at_start, Words& out, std::vector<std::string_view>& finer);

  std::vector<Step> steps_;
  bool ends_in_bytes_ = false;
};

}  // namespace thinkey
