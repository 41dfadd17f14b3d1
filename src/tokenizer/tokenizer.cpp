#include "tokenizer/tokenizer.h"

#include <utility>

#include "base/fail.h"
#include "tokenizer/tokenizer_parts.h"
#include "tokenizer/utf8.h"
#include "tokenizer/word_cache.h"

namespace thinkey {

Tokenizer::Parts::Parts(const TokenizerData& tables)
    : vocabulary(tables),
      added(vocabulary),
      normalizer(tables.normalizers),
      pre_tokenizer(tables.splits,
                    {.keep_alphabet = tables.model != TokenizerModel::BytePairs ||
                                      !tables.subword_prefix.empty() || !tables.word_suffix.empty()}),
      boundaries(vocabulary),
      model(WordModel::create(vocabulary, pre_tokenizer.ends_in_bytes())),
      decoder(vocabulary) {}

// One encode() call: what is remembered between its stretches and words.
class Tokenizer::Encoding {
 public:
  Encoding(const Parts& parts, std::string_view text, bool parse_special)
      : parts_(parts), text_(text), parse_special_(parse_special), cache_(text.size()) {
    ids_.reserve(text.size() / 4 + 8);
  }

  std::vector<std::int32_t> run() {
    each_stretch(text_, false, [this](std::string_view stretch) {
      const bool at_start = stretch.data() == text_.data();
      if (parts_.normalizer.empty()) return encode_normalized(stretch, at_start);
      const std::string normalized = parts_.normalizer.apply(stretch);
      if (!parts_.added.has_normalized()) return encode_normalized(normalized, at_start);
      each_stretch(normalized, true, [&](std::string_view part) {
        encode_normalized(part, at_start && part.data() == normalized.data());
      });
    });
    return std::move(ids_);
  }

 private:
  // Appends the tokens found in `text`, and calls encode(stretch) for what lies between them.
  template <typename Encode>
  void each_stretch(std::string_view text, bool normalized, const Encode& encode) {
    std::size_t rest = 0;  // what has not become tokens begins here
    std::size_t from = 0;
    while (const auto match = parts_.added.find(text, from, rest, normalized, parse_special_)) {
      if (match->start > rest) encode(text.substr(rest, match->start - rest));
      ids_.push_back(match->id);
      rest = match->end;
      from = match->search_from;
    }
    if (rest < text.size()) encode(text.substr(rest));
  }

  void encode_normalized(std::string_view text, bool at_start) {
    parts_.pre_tokenizer.split(text, at_start, words_);
    if (parts_.pre_tokenizer.ends_in_bytes()) {
      for (const std::string_view word : words_.words) encode_word(word);
      return;
    }
    for (const std::string_view word : words_.words) {
      finer_.clear();
      parts_.boundaries.split(word, finer_);
      for (const std::string_view part : finer_) encode_word(part);
    }
  }

  void encode_word(std::string_view word) {
    const WordCache::Key key = WordCache::key(word);
    if (key.bytes > 0 && cache_.append(key, ids_)) return;
    const std::size_t first = ids_.size();
    parts_.model->encode(word, scratch_, ids_);
    cache_.remember(key, std::span(ids_).subspan(first));
  }

  const Parts& parts_;
  std::string_view text_;
  bool parse_special_;
  WordCache cache_;
  PreTokenizer::Words words_;
  std::vector<std::string_view> finer_;
  MergeScratch scratch_;
  std::vector<std::int32_t> ids_;
};

Tokenizer::Tokenizer(const TokenizerData& data) : parts_(std::make_unique<const Parts>(data)) {}
Tokenizer::~Tokenizer() = default;

std::unique_ptr<Tokenizer> Tokenizer::create(const TokenizerData& data) {
  return std::unique_ptr<Tokenizer>(new Tokenizer(data));
}

std::vector<std::int32_t> Tokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  if (const auto bad = find_invalid_utf8(text)) {
    fail_data("the text is not valid UTF-8 at byte {} (0x{:02X}); convert it to UTF-8 first", *bad,
              static_cast<unsigned char>(text[*bad]));
  }
  std::vector<std::int32_t> ids = Encoding(*parts_, text, options.parse_special).run();
  if (options.add_special && data().add_bos) ids.insert(ids.begin(), data().bos);
  if (options.add_special && data().add_eos) ids.push_back(data().eos);
  return ids;
}

std::string Tokenizer::piece(std::int32_t id, bool special) const {
  const Vocabulary& table = parts_->vocabulary;
  if (!table.contains(id)) fail_usage("there is no token {}: the vocabulary has {}", id, table.size());
  if (table.is_control(id) && !special) return {};
  return std::string(parts_->decoder.bytes(id));
}

std::string Tokenizer::decode(std::span<const std::int32_t> ids, bool special) const {
  StreamDecoder decoder(*this, special);
  std::string text;
  for (const std::int32_t id : ids) text += decoder.push(id);
  return text + decoder.finish();
}

bool Tokenizer::stands_alone(std::int32_t id) const {
  return parts_->vocabulary.contains(id) && parts_->vocabulary.stands_alone(id);
}

std::int32_t Tokenizer::vocabulary() const noexcept { return parts_->vocabulary.size(); }
std::int32_t Tokenizer::bos() const noexcept { return data().bos; }
bool Tokenizer::adds_bos() const noexcept { return data().add_bos; }
bool Tokenizer::ends_generation(std::int32_t id) const noexcept {
  return parts_->vocabulary.ends_generation(id);
}
const TokenizerData& Tokenizer::data() const noexcept { return parts_->vocabulary.data(); }

std::optional<std::int32_t> Tokenizer::find(std::string_view piece) const {
  const std::int32_t id = parts_->vocabulary.find(piece);
  return id < 0 ? std::nullopt : std::optional(id);
}

}  // namespace thinkey
