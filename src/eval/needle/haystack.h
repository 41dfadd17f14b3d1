// Text to hide facts in: sentences of our own generator, or of a directory of files.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "eval/run/prompt.h"
#include "eval/run/random.h"

namespace thinkey::eval {

// Pieces that a needle may stand between: sentences, white space in them made single.
[[nodiscard]] std::vector<std::string> sentences_of(std::string_view text);

// The text of a directory's files (all regular files, in order of their names). Error(Data) when there is
// none, or one is not UTF-8.
[[nodiscard]] std::string read_directory(const std::filesystem::path& directory);

// Tells texts apart, for the record of what was evaluated: 16 hexadecimal digits.
[[nodiscard]] std::string text_fingerprint(std::string_view text);
// What a record says of a text that came from `path`: "PATH FINGERPRINT".
[[nodiscard]] std::string text_record(std::string_view path, std::string_view text);

class Haystack {
 public:
  Haystack() = default;  // the generator's prose
  explicit Haystack(std::vector<std::string> sentences) : sentences_(std::move(sentences)) {}

  // An endless supply of sentences, each with the separator before it: prose, or the text from a random
  // place on, from the start again after its end.
  [[nodiscard]] std::function<std::string()> open(Random& random) const;

 private:
  std::vector<std::string> sentences_;  // empty: the generator's prose
};

// As many pieces of `source` as make `tokens` tokens or slightly fewer.
[[nodiscard]] std::vector<std::string> gather(const std::function<std::string()>& source,
                                              const PromptEncoder& encoder, std::size_t tokens);

// Where among `pieces` the one begins that has `depth` (0 to 1) of their characters before it.
[[nodiscard]] std::size_t place_at(const std::vector<std::string>& pieces, double depth);

// The pieces as one text, without white space at its start.
[[nodiscard]] std::string join(const std::vector<std::string>& pieces);

}  // namespace thinkey::eval
