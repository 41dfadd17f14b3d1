// Text to token ids and back, as the model's file says.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "formats/tokenizer_data.h"
#include "thinkey/encode_options.h"

namespace thinkey {

class Vocabulary;

// Immutable once created: any number of threads may use one tokenizer.
//
// Tokens of type UserDefined written in a text are always found, those of type Control and Unknown
// with parse_special; of several that begin at the same byte the longest wins. Each stretch of text between
// them is normalized, split into words and encoded word by word.
class Tokenizer {
 public:
  ~Tokenizer();
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;

  // Throws Error(Data) when the tables are inconsistent (see Vocabulary), or a step of the pipeline is not
  // supported.
  [[nodiscard]] static std::unique_ptr<Tokenizer> create(const TokenizerData& data);

  // `text` must be valid UTF-8 (Error(Data) names the first bad byte's offset otherwise). Time and memory
  // n log n in its length. What has no piece becomes what TokenizerData says, never a control token.
  [[nodiscard]] std::vector<std::int32_t> encode(std::string_view text,
                                                 const EncodeOptions& options = {}) const;

  // The bytes of one token; may be part of a UTF-8 character. Control and unknown tokens give ""
  // unless `special`. Error(Usage) when there is no such id.
  [[nodiscard]] std::string piece(std::int32_t id, bool special = false) const;

  // The text of a sequence, always valid UTF-8: ill-formed bytes become U+FFFD. Leading spaces that encode()
  // adds are removed again.
  [[nodiscard]] std::string decode(std::span<const std::int32_t> ids, bool special = false) const;

  [[nodiscard]] std::int32_t vocabulary() const noexcept;
  [[nodiscard]] std::int32_t bos() const noexcept;
  [[nodiscard]] bool adds_bos() const noexcept;
  [[nodiscard]] bool ends_generation(std::int32_t id) const noexcept;
  [[nodiscard]] std::optional<std::int32_t> find(std::string_view piece) const;  // exact vocabulary entry
  [[nodiscard]] const TokenizerData& data() const noexcept;

  // True for tokens that encode() finds in the text before anything else (control, unknown, user-defined).
  [[nodiscard]] bool stands_alone(std::int32_t id) const;

 private:
  friend class StreamDecoder;
  struct Parts;
  class Encoding;
  explicit Tokenizer(const TokenizerData& data);

  std::unique_ptr<const Parts> parts_;
};

// Turns a stream of ids into text that never ends inside a UTF-8 character. The pieces' concatenation
// is what decode() gives for the whole sequence.
class StreamDecoder {
 public:
  // `at_start`: the stream begins a text, so the leading space that encode() adds is dropped; false when
  // it continues one, as a completion does.
  explicit StreamDecoder(const Tokenizer& tokenizer, bool special = false, bool at_start = true);
  // Text that became complete with this token; may be empty. Error(Usage) when there is no such id.
  [[nodiscard]] std::string push(std::int32_t id);
  // What is left at the end: an incomplete character becomes U+FFFD.
  [[nodiscard]] std::string finish();

 private:
  void add(std::int32_t id);

  const Tokenizer* tokenizer_;
  std::string pending_;  // bytes that are not text yet
  bool special_;
  bool first_;                  // no piece has been written since the text began
  std::size_t strip_left_ = 0;  // how often the text's beginning may still lose something
  bool holds_space_ = false;    // a word ended; its space comes with the next one
};

}  // namespace thinkey
