// The changes a tokenizer makes to a text before splitting it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "formats/tokenizer_data.h"
#include "tokenizer/regex.h"

namespace thinkey {

// Every `pattern` in `text` by `content`; an empty pattern is nowhere.
[[nodiscard]] std::string replace_text(std::string_view text, std::string_view pattern,
                                       std::string_view content);
[[nodiscard]] std::string replace_matches(std::string_view text, const Regex& pattern,
                                          std::string_view content);

class Normalizer {
 public:
  // Throws Error(Data) for expressions that are wrong or not supported.
  explicit Normalizer(const std::vector<NormalizerStep>& steps);

  [[nodiscard]] bool empty() const noexcept { return steps_.empty(); }
  // `text`: valid UTF-8, and so is what comes back.
  [[nodiscard]] std::string apply(std::string_view text) const;

 private:
  std::vector<NormalizerStep> steps_;
  std::vector<Regex> expressions_;  // of the ReplacePattern steps, in order
};

}  // namespace thinkey
