// Any text through small tokenizers of every model, and any ids through decode() and the stream decoder.
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "formats/pre_tokenizer_table.h"
#include "thinkey/error.h"
#include "tokenizer/byte_alphabet.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/utf8.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

using thinkey::TokenizerData;
using thinkey::TokenizerModel;
using thinkey::TokenType;

void add(TokenizerData& data, const std::string& piece, TokenType type = TokenType::Normal) {
  data.tokens.push_back(piece);
  data.types.push_back(type);
  if (data.model != TokenizerModel::BytePairs)
    data.scores.push_back(-static_cast<double>(data.tokens.size()) / 3);
}

void add_specials(TokenizerData& data) {
  add(data, "<s>", TokenType::Control);
  add(data, "<s></s>", TokenType::UserDefined);
  add(data, "  ", TokenType::UserDefined);
  const auto last = static_cast<std::int32_t>(data.tokens.size()) - 1;
  data.added.push_back({.id = last - 1, .single_word = true, .lstrip = true, .rstrip = true});
}

std::unique_ptr<thinkey::Tokenizer> byte_level(std::string_view pre) {
  TokenizerData data;
  data.model = TokenizerModel::BytePairs;
  thinkey::set_pre_tokenizer(pre, data);
  data.add_bos = false;
  for (int byte = 0; byte < 256; ++byte)
    add(data, thinkey::byte_to_alphabet(static_cast<unsigned char>(byte)));
  for (const auto& [left, right] :
       {std::pair{"a", "a"}, {"aa", "aa"}, {"t", "h"}, {"th", "e"}, {"\u0120", "the"}, {"1", "2"}}) {
    add(data, std::string(left) + right);
    data.merges.emplace_back(left, right);
  }
  add_specials(data);
  return thinkey::Tokenizer::create(data);
}

std::unique_ptr<thinkey::Tokenizer> space_marks(TokenizerModel model) {
  TokenizerData data;
  data.model = model;
  thinkey::set_space_mark_pipeline(true, data);
  add(data, "<unk>", TokenType::Unknown);
  data.unknown = 0;
  constexpr std::string_view kHex = "0123456789ABCDEF";
  for (std::size_t byte = 0; byte < 256; ++byte) {
    add(data, std::string("<0x") + kHex[byte / 16] + kHex[byte % 16] + ">", TokenType::Byte);
  }
  for (const char* piece :
       {"\u2581", "a", "t", "h", "e", "th", "the", "\u2581the", "\u2581\u2581", "aa", "aaaa", "\u00E9"})
    add(data, piece);
  add_specials(data);
  return thinkey::Tokenizer::create(data);
}

void require(bool condition) {
  if (!condition) std::abort();
}

void try_text(const thinkey::Tokenizer& tokenizer, std::string_view text, bool whole) {
  const bool valid = !thinkey::find_invalid_utf8(text);
  try {
    for (const bool special : {false, true}) {
      const auto ids = tokenizer.encode(text, {.add_special = false, .parse_special = special});
      require(valid);
      for (const std::int32_t id : ids) require(id >= 0 && id < tokenizer.vocabulary());
      const std::string back = tokenizer.decode(ids, true);
      // Tokens that take white space along, and U+2581 itself, are not written back.
      if (whole && text.find("<s>") == std::string_view::npos &&
          text.find("\u2581") == std::string_view::npos) {
        require(back == text);
      }
    }
  } catch (const thinkey::Error&) {
    require(!valid);
  }
}

void try_ids(const thinkey::Tokenizer& tokenizer, const std::uint8_t* data, std::size_t size) {
  std::vector<std::int32_t> ids;
  for (std::size_t i = 0; i + 1 < size; i += 2) {
    ids.push_back((data[i] * 256 + data[i + 1]) % tokenizer.vocabulary());
  }
  for (const bool special : {false, true}) {
    thinkey::StreamDecoder decoder(tokenizer, special);
    std::string text;
    for (const std::int32_t id : ids) {
      const std::string piece = decoder.push(id);
      require(!thinkey::find_invalid_utf8(piece));
      text += piece;
    }
    text += decoder.finish();
    require(text == tokenizer.decode(ids, special));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const auto tokenizers = [] {
    std::vector<std::unique_ptr<thinkey::Tokenizer>> all;
    for (const char* pre :
         {"gpt-2", "smollm", "llama-bpe", "qwen35", "gpt-4o", "deepseek-llm", "deepseek-v3", "tiny_aya"}) {
      all.push_back(byte_level(pre));
    }
    all.push_back(space_marks(TokenizerModel::ScoredPairs));
    all.push_back(space_marks(TokenizerModel::Unigram));
    return all;
  }();
  if (size == 0) return 0;
  const auto& tokenizer = *tokenizers[data[0] % tokenizers.size()];
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  try_text(tokenizer, text, true);
  try_ids(tokenizer, data + 1, size - 1);
  return 0;
}
