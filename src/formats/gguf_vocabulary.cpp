#include <optional>
#include <string>
#include <utility>

#include "base/fail.h"
#include "formats/gguf.h"
#include "formats/gguf_split.h"
#include "formats/pre_tokenizer_table.h"
#include "formats/printable.h"
#include "formats/tokenizer_tables.h"

namespace thinkey {
namespace {

// An id by key, or `otherwise` when the key is absent. 0xFFFFFFFF is how some writers say "none".
std::int32_t token_id(const GgufFile& file, const std::string& key, std::int32_t otherwise = -1) {
  const auto id = file.integer(key);
  if (!id) return otherwise;
  if (*id == -1 || *id == 0xFFFFFFFFLL) return -1;
  if (*id < 0 || *id >= static_cast<std::int64_t>(kMaxVocabulary)) {
    fail_data("{}: metadata {} is {}, which is not a token id", file.path().string(), key, *id);
  }
  return static_cast<std::int32_t>(*id);
}

std::vector<TokenType> token_types(const GgufFile& file, const TokenizerData& data) {
  const auto numbers = file.integers("tokenizer.ggml.token_type");
  std::vector<TokenType> types;
  if (numbers) {
    for (const std::int64_t number : *numbers) {
      // 0 is "undefined"; llama.cpp treats such tokens as normal ones too.
      if (number < 0 || number > static_cast<std::int64_t>(TokenType::Byte)) {
        fail_data("{}: tokenizer.ggml.token_type holds {}, which is no token type", file.path().string(),
                  number);
      }
      types.push_back(number == 0 ? TokenType::Normal : static_cast<TokenType>(number));
    }
    return types;
  }
  types.assign(data.tokens.size(), TokenType::Normal);
  if (data.model == TokenizerModel::BytePairs) return types;
  for (std::size_t i = 0; i < types.size(); ++i) {
    const auto id = static_cast<std::int32_t>(i);
    if (byte_piece(data.tokens[i])) types[i] = TokenType::Byte;
    if (id == data.bos || id == data.eos) types[i] = TokenType::Control;
    if (id == data.unknown) types[i] = TokenType::Unknown;
  }
  return types;
}

std::vector<std::pair<std::string, std::string>> merges(const GgufFile& file) {
  std::vector<std::pair<std::string, std::string>> out;
  const auto lines = file.texts("tokenizer.ggml.merges");
  if (!lines) fail_data("{}: a byte-pair tokenizer without tokenizer.ggml.merges", file.path().string());
  out.reserve(lines->size());
  for (const std::string& line : *lines) {
    const std::size_t space =
        line.find(' ', 1);  // the first piece is never empty, and may begin with a space
    if (space == std::string::npos || space + 1 == line.size()) {
      fail_data("{}: tokenizer.ggml.merges holds \"{}\", which is not a pair", file.path().string(),
                printable(line));
    }
    out.emplace_back(line.substr(0, space), line.substr(space + 1));
  }
  return out;
}

std::vector<double> scores(const GgufFile& file) {
  const auto numbers = file.numbers("tokenizer.ggml.scores");
  if (!numbers) {
    fail_data("{}: a SentencePiece tokenizer without tokenizer.ggml.scores", file.path().string());
  }
  return *numbers;
}

// Phi-3's control tokens take the white space after them along; GGUF has no place to say so.
void set_phi3_tokens(const GgufFile& file, TokenizerData& data) {
  std::string name = file.text("general.name").value_or("");
  for (char& c : name) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  if (name.find("phi-3") == std::string::npos && name.find("phi3") == std::string::npos) return;
  for (std::size_t i = 0; i < data.tokens.size(); ++i) {
    const std::string& text = data.tokens[i];
    const bool alone = data.types[i] == TokenType::Control || data.types[i] == TokenType::UserDefined;
    if (!alone || text == "<unk>" || text == "<s>" || text == "<|endoftext|>") continue;
    data.added.push_back({.id = static_cast<std::int32_t>(i), .rstrip = true});
  }
}

// tokenizer.chat_template, tokenizer.chat_template.NAME, and the special tokens that templates may write.
void read_chat_templates(const GgufFile& file, TokenizerData& data) {
  static constexpr std::string_view kKey = "tokenizer.chat_template";
  for (const GgufValue& value : file.values()) {
    if (!value.key.starts_with(kKey) || value.type != GgufType::String) continue;
    if (value.key.size() > kKey.size() + 1 && value.key[kKey.size()] == '.') {
      data.chat_templates.emplace_back(value.key.substr(kKey.size() + 1), file.text(value.key).value_or(""));
    }
  }
  data.chat_template = file.text(std::string(kKey)).value_or("");
  for (const auto& [key, name] : {std::pair("unknown", "unk_token"), std::pair("padding", "pad_token")}) {
    const std::int32_t id = token_id(file, fmt::format("tokenizer.ggml.{}_token_id", key));
    if (id < 0 || static_cast<std::size_t>(id) >= data.tokens.size()) continue;
    data.special_tokens.emplace_back(name, data.tokens[static_cast<std::size_t>(id)]);
  }
}

}  // namespace

TokenizerData read_vocabulary(const GgufFile& file) {
  TokenizerData data;
  const std::string model = file.text("tokenizer.ggml.model").value_or("none");
  if (model == "none" || model == "no_vocab") return data;
  const bool sentence_piece = model == "llama";
  if (!sentence_piece && model != "gpt2" && model != "gemma4") {
    fail_data("{}: tokenizer model \"{}\" is not supported (llama, gpt2 and gemma4 are)",
              file.path().string(), printable(model));
  }
  auto tokens = file.texts("tokenizer.ggml.tokens");
  if (!tokens || tokens->empty()) {
    fail_data("{}: tokenizer.ggml.tokens is missing or empty", file.path().string());
  }
  data.tokens = *std::move(tokens);

  data.model = sentence_piece ? TokenizerModel::ScoredPairs : TokenizerModel::BytePairs;
  const auto fits = [&](std::size_t id) { return id < data.tokens.size(); };
  // SentencePiece models have always had <unk> <s> </s> in front, and the oldest files do not say so.
  data.unknown = token_id(file, "tokenizer.ggml.unknown_token_id", sentence_piece ? 0 : -1);
  data.bos = token_id(file, "tokenizer.ggml.bos_token_id", sentence_piece && fits(1) ? 1 : -1);
  data.eos = token_id(file, "tokenizer.ggml.eos_token_id", sentence_piece && fits(2) ? 2 : -1);
  data.types = token_types(file, data);
  if (sentence_piece) {
    data.scores = scores(file);
    data.add_bos = true;
    set_space_mark_pipeline(file.boolean("tokenizer.ggml.add_space_prefix").value_or(true), data);
  } else {
    data.merges = merges(file);
    const std::string name = model == "gemma4" ? model : file.text("tokenizer.ggml.pre").value_or("default");
    try {
      set_pre_tokenizer(name, data);
    } catch (const Error& error) {
      fail_data("{}: {}", file.path().string(), error.what());
    }
    // Bytes without a token are dropped: many files name as unknown what ends a text.
    if (!data.byte_fallback) data.unknown = -1;
  }
  set_phi3_tokens(file, data);
  data.add_bos = file.boolean("tokenizer.ggml.add_bos_token").value_or(data.add_bos) && data.bos >= 0;
  data.add_eos = file.boolean("tokenizer.ggml.add_eos_token").value_or(false) && data.eos >= 0;
  read_chat_templates(file, data);
  for (const char* key : {"tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"}) {
    if (const std::int32_t id = token_id(file, key); id >= 0) data.end_of_generation.push_back(id);
  }
  finish_tokenizer(data, file.path());
  return data;
}

TokenizerData read_gguf_vocabulary(const std::filesystem::path& path) {
  const GgufFile file(path);
  refuse_later_part(file);
  TokenizerData data = read_vocabulary(file);
  if (data.tokens.empty()) fail_data("{}: holds no tokenizer", path.string());
  return data;
}

}  // namespace thinkey
