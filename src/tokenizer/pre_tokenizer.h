// Splits a text into the pre-tokens that byte-pair merging never crosses, with the regular
// expressions the models were trained with.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

namespace thinkey {

class PreTokenizer {
 public:
  // "llama-bpe" (Llama 3), "smollm", "gpt-2" or "default"; "" counts as "default". Throws Error(Data)
  // naming the choices when unknown.
  explicit PreTokenizer(std::string_view name);
  ~PreTokenizer();
  PreTokenizer(const PreTokenizer&) = delete;
  PreTokenizer& operator=(const PreTokenizer&) = delete;

  // Views into `text` (valid UTF-8), in order, covering all of it, none empty.
  [[nodiscard]] std::vector<std::string_view> split(std::string_view text) const;

 private:
  class Pattern;
  std::vector<std::unique_ptr<const Pattern>> patterns_;  // each splits what the one before it left
};

}  // namespace thinkey
