// A tokenizer as plain data, whatever file it comes from: its tables, and its text pipeline step by step.
// GGUF files name a pipeline (pre_tokenizer_table.h), tokenizer.json spells it out (pipeline_json.h);
// src/tokenizer executes both alike.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace thinkey {

// How a word becomes pieces.
enum class TokenizerModel : std::uint8_t {
  BytePairs,    // merges in the order they were learnt (GGUF "gpt2", tokenizer.json "BPE")
  ScoredPairs,  // SentencePiece's BPE: of all pairs that make a piece, the one with the best score (GGUF
                // "llama")
  Unigram,      // the sequence of pieces whose scores sum up highest (tokenizer.json "Unigram")
};

// Classes of vocabulary entries, numbered as in GGUF's tokenizer.ggml.token_type.
enum class TokenType : std::uint8_t {
  Normal = 1,
  Unknown = 2,
  Control = 3,
  UserDefined = 4,
  Unused = 5,
  Byte = 6
};

// One change of the text before it is split. Expressions here and below are Oniguruma's (Ruby syntax),
// which tokenizer.json files are written in.
struct NormalizerStep {
  enum class Kind : std::uint8_t {
    Nfc,
    Nfd,
    Nfkc,
    Nfkd,
    Lowercase,
    StripAccents,
    Nmt,             // drops control characters, makes odd spaces plain ones
    Strip,           // white space at the ends, by `left` and `right`
    Prepend,         // `content` in front of a text that is not empty
    ReplaceText,     // every `pattern` by `content`
    ReplacePattern,  // every match of `pattern` by `content`
    ByteAlphabet,    // bytes as characters of GPT-2's alphabet
  };
  Kind kind = Kind::Nfc;
  std::string pattern = {}, content = {};
  bool left = true, right = true;
};

enum class SplitBehavior : std::uint8_t { Removed, Isolated, MergedWithPrevious, MergedWithNext, Contiguous };

// One refinement of the text's parts into words, which no piece crosses.
struct SplitStep {
  enum class Kind : std::uint8_t {
    Pattern,       // at the matches of `pattern`
    PrefixSpace,   // a part that does not begin with a space gets one
    SpaceMark,     // spaces become `mark`, and one is put in front as `prepend` says
    ByteAlphabet,  // bytes as characters of GPT-2's alphabet
  };
  enum class Prepend : std::uint8_t { Never, First, Always };  // First: only where the whole text begins
  Kind kind = Kind::Pattern;
  std::string pattern = {};
  SplitBehavior behavior = SplitBehavior::Isolated;
  bool invert = false;  // what does not match counts as match
  std::string mark = {};
  Prepend prepend = Prepend::Never;
};

// One step from pieces back to text. Up to Fuse a step sees single pieces, after it the whole text.
struct DecoderStep {
  enum class Kind : std::uint8_t {
    ByteLevel,       // characters of GPT-2's alphabet as bytes; fuses
    ByteFallback,    // <0x0A> as its byte
    Fuse,            // pieces become one text
    ReplaceText,     // every `pattern` by `content`
    ReplacePattern,  // every match of `pattern` by `content`
    Strip,           // up to `start` times `content` at the beginning, `stop` times at the end
    SpaceMark,       // `pattern` as a space; all of those in the first piece go where `drop_first`
    WordSuffix,      // `pattern` at a word's end as a space, in the last piece as nothing
  };
  Kind kind = Kind::Fuse;
  std::string pattern = {}, content = {};
  std::size_t start = 0, stop = 0;
  bool drop_first = false;
};

// How a token that is found in the text before anything else (type Control, Unknown or UserDefined) is found.
struct AddedToken {
  std::int32_t id = -1;
  bool single_word = false;             // not beside a letter, digit or underscore
  bool lstrip = false, rstrip = false;  // takes the white space before or after it along
  bool normalized = false;              // searched for in the normalized text
};

// No tokens at all means that the file has no tokenizer. Otherwise every id below is that of a token.
struct TokenizerData {
  TokenizerModel model = TokenizerModel::ScoredPairs;
  std::string pre;  // the pipeline's name where a GGUF file gives one, for display

  std::vector<NormalizerStep> normalizers;
  std::vector<SplitStep> splits;
  std::vector<DecoderStep> decoders;
  bool joins_with_spaces = false;  // no decoder at all: pieces are written with spaces between them
  // What the decoders do at the beginning they do again after every Control, Unknown or UserDefined token,
  // for pipelines that prefix every stretch of text with a space.
  bool restarts_after_added = false;

  // Piece per id: as the model's file writes it (in GPT-2's alphabet where the pipeline is byte-level);
  // Control, Unknown and UserDefined pieces are plain text. Byte pieces are written <0x0A>.
  std::vector<std::string> tokens;
  std::vector<TokenType> types;  // per id, same length as tokens
  std::vector<double> scores;    // ScoredPairs and Unigram: per id, same length as tokens
  std::vector<std::pair<std::string, std::string>> merges;  // BytePairs: best first
  std::vector<AddedToken> added;  // tokens that are found otherwise than by their bare text

  // BytePairs: a word that is a piece is taken whole, even if no merges make it.
  bool ignore_merges = false;
  // A character without a piece is written as its bytes' tokens where there are all of them, else as
  // `unknown`, several in a row as one with `fuse_unknown`; without an `unknown` it is dropped.
  bool byte_fallback = false;
  bool fuse_unknown = false;
  std::string subword_prefix, word_suffix;  // BytePairs: on every piece but a word's first; on its last
  std::int32_t unknown = -1;                // -1: none

  std::int32_t bos = -1, eos = -1;  // -1: none
  std::vector<std::int32_t>
      end_of_generation;  // all ids that end an answer (EOS, <|eot_id|>, ...), ascending
  bool add_bos = false, add_eos = false;
  std::string chat_template;  // Jinja source or empty
  // Further templates by name, such as "tool_use", in the file's order.
  std::vector<std::pair<std::string, std::string>> chat_templates = {};
  // What templates know special tokens by, such as ("pad_token", "<pad>"); BOS and EOS may be missing here.
  std::vector<std::pair<std::string, std::string>> special_tokens = {};
};

// The tokenizer alone: from a .gguf file, which may hold nothing but a vocabulary, of any architecture ...
[[nodiscard]] TokenizerData read_gguf_vocabulary(const std::filesystem::path& path);
// ... or from a tokenizer.json. What stands in the files beside it (tokenizer_config.json: chat
// template, BOS and EOS) is read by open_model_file() only.
[[nodiscard]] TokenizerData read_tokenizer_json(const std::filesystem::path& path);

}  // namespace thinkey
