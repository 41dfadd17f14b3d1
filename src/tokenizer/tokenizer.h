// Text to token ids and back, for both tokenizer families of Llama-like models.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "formats/model_file.h"

namespace thinkey {

class Vocabulary;

struct EncodeOptions {
  bool add_special = true;     // BOS / EOS as the model's file says
  bool parse_special = false;  // recognise control tokens such as <|eot_id|> written in the text
};

// Immutable once created: any number of threads may use one tokenizer.
//
// Tokens of type UserDefined written in a text are always found, those of type Control and Unknown
// with parse_special; of several that begin at the same byte the longest wins. The text between
// them is encoded piece by piece, and with SentencePiece's add_space_prefix each such stretch gets
// its own leading space, which is what the fast tokenizers and GGUF tools do too.
class Tokenizer {
 public:
  virtual ~Tokenizer();
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;

  // Throws Error(Data) when the tables are inconsistent (see Vocabulary) or the pre-tokenizer is unknown.
  [[nodiscard]] static std::unique_ptr<Tokenizer> create(const TokenizerData& data);

  // `text` must be valid UTF-8 (Error(Data) names the first bad byte's offset otherwise).
  // A byte or character the vocabulary has no piece for becomes the unknown token; a byte-level
  // vocabulary that has none drops it, as its own library does.
  [[nodiscard]] std::vector<std::int32_t> encode(std::string_view text,
                                                 const EncodeOptions& options = {}) const;

  // The bytes of one token; may be part of a UTF-8 character. Control and unknown tokens give ""
  // unless `special`. Error(Usage) when there is no such id.
  [[nodiscard]] std::string piece(std::int32_t id, bool special = false) const;

  // The text of a sequence, always valid UTF-8: ill-formed bytes become U+FFFD. The leading spaces
  // that encode() adds to every stretch of a SentencePiece text are removed again.
  [[nodiscard]] std::string decode(std::span<const std::int32_t> ids, bool special = false) const;

  [[nodiscard]] std::int32_t vocabulary() const noexcept;
  [[nodiscard]] std::int32_t bos() const noexcept;
  [[nodiscard]] bool adds_bos() const noexcept;
  [[nodiscard]] bool ends_generation(std::int32_t id) const noexcept;
  [[nodiscard]] std::optional<std::int32_t> find(std::string_view piece) const;  // exact vocabulary entry
  [[nodiscard]] const TokenizerData& data() const noexcept;

  // True for tokens that encode() finds in the text before anything else (control, unknown, user-defined).
  [[nodiscard]] bool stands_alone(std::int32_t id) const;

 protected:
  explicit Tokenizer(std::unique_ptr<const Vocabulary> vocabulary);
  [[nodiscard]] const Vocabulary& table() const noexcept { return *vocabulary_; }

 private:
  // Appends the ids of a stretch of valid UTF-8, not empty, that holds no token standing alone.
  virtual void encode_stretch(std::string_view text, std::vector<std::int32_t>& ids) const = 0;
  // The bytes of a token whose text is not written as is.
  [[nodiscard]] virtual std::string piece_bytes(std::int32_t id) const = 0;

  std::unique_ptr<const Vocabulary> vocabulary_;
};

// Turns a stream of ids into text that never ends inside a UTF-8 character. The pieces' concatenation
// is what decode() gives for the whole sequence.
class StreamDecoder {
 public:
  // `at_start`: the stream begins a text, so SentencePiece's leading space is dropped; false when it
  // continues one, as a completion does.
  explicit StreamDecoder(const Tokenizer& tokenizer, bool special = false, bool at_start = true);
  // Text that became complete with this token; may be empty.
  [[nodiscard]] std::string push(std::int32_t id);
  // What is left at the end: an incomplete character becomes U+FFFD.
  [[nodiscard]] std::string finish();

 private:
  const Tokenizer* tokenizer_;
  std::string pending_;  // the first bytes of an unfinished character
  bool special_;
  bool drop_space_;  // the next piece begins a stretch
};

}  // namespace thinkey
