#include "formats/tokenizer_json.h"

#include <algorithm>
#include <string_view>
#include <unordered_set>
#include <utility>

#include "base/fail.h"
#include "formats/json.h"
#include "formats/json_components.h"
#include "formats/pipeline_json.h"
#include "formats/post_processor_json.h"
#include "formats/printable.h"
#include "formats/tokenizer_tables.h"

namespace thinkey {
namespace {

constexpr std::size_t kMaxFileBytes = std::size_t{256} << 20U;

JsonView require_model(const JsonView& tokenizer, TokenizerData& data) {
  const auto model = tokenizer.object("model");
  if (!model) tokenizer.fail("model", "is missing");
  // The oldest files leave it out.
  const std::string type = model->text("type").value_or(model->find("merges") != nullptr ? "BPE" : "Unigram");
  if (type == "BPE") {
    data.model = TokenizerModel::BytePairs;
  } else if (type == "Unigram") {
    data.model = TokenizerModel::Unigram;
  } else {
    model->fail("type", fmt::format("\"{}\" is not supported (BPE and Unigram are)", printable(type)));
  }
  return *model;
}

// Puts `piece` at its id, making room; false when another piece is there already.
bool place(TokenizerData& data, std::int64_t id, const std::string& piece, TokenType type) {
  const auto at = static_cast<std::size_t>(id);
  if (at >= data.tokens.size()) {
    data.tokens.resize(at + 1);
    if (data.model != TokenizerModel::BytePairs) data.scores.resize(at + 1);
    data.types.resize(at + 1, TokenType::Unused);
  }
  const bool taken = data.types[at] != TokenType::Unused && data.tokens[at] != piece;
  data.tokens[at] = piece;
  data.types[at] = type;
  return !taken;
}

std::int64_t checked_id(const JsonView& view, const std::string& key, const Json& json) {
  const auto id = as_integer(json);
  if (!id || *id < 0 || *id >= static_cast<std::int64_t>(kMaxVocabulary)) {
    view.fail(key, fmt::format("holds an id that is not from 0 to {}", kMaxVocabulary - 1));
  }
  return *id;
}

void read_pieces(const JsonView& model, TokenizerData& data) {
  const auto vocabulary = model.object("vocab");
  if (!vocabulary || vocabulary->json().empty()) model.fail("vocab", "is missing or empty");
  for (const auto& [piece, json] : vocabulary->json().items()) {
    const std::int64_t id = checked_id(model, "vocab", json);
    const TokenType type = data.byte_fallback && byte_piece(piece) ? TokenType::Byte : TokenType::Normal;
    if (!place(data, id, piece, type)) model.fail("vocab", fmt::format("holds id {} twice", id));
  }
}

std::pair<std::string, std::string> read_merge(const JsonView& model, const Json& json) {
  if (json.is_string()) {
    const auto& line = json.get_ref<const std::string&>();
    const std::size_t space = line.find(' ');
    if (space != std::string::npos && line.find(' ', space + 1) == std::string::npos) {
      return {line.substr(0, space), line.substr(space + 1)};
    }
  } else if (json.is_array() && json.size() == 2 && json[0].is_string() && json[1].is_string()) {
    return {json[0].get<std::string>(), json[1].get<std::string>()};
  }
  model.fail("merges", "holds something that is not a pair");
}

void read_merges(const JsonView& model, TokenizerData& data) {
  const Json* merges = model.array("merges");
  if (merges == nullptr) model.fail("merges", "is missing");
  const std::unordered_set<std::string_view> pieces(data.tokens.begin(), data.tokens.end());
  data.merges.reserve(merges->size());
  for (const Json& json : *merges) {
    auto merge = read_merge(model, json);
    const std::string both = merged_piece(merge.first, merge.second, data.subword_prefix);
    if (!pieces.contains(merge.first) || !pieces.contains(merge.second) || !pieces.contains(both)) {
      model.fail("merges", fmt::format("holds \"{}\", which is not made of pieces", printable(both)));
    }
    data.merges.push_back(std::move(merge));
  }
}

void read_byte_pairs(const JsonView& model, TokenizerData& data) {
  allow_only(model, {"dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk",
                     "byte_fallback", "ignore_merges", "vocab", "merges"});
  if (model.number("dropout").value_or(0) != 0) model.fail("dropout", "is not supported");
  data.subword_prefix = model.text("continuing_subword_prefix").value_or("");
  data.word_suffix = model.text("end_of_word_suffix").value_or("");
  data.fuse_unknown = model.boolean("fuse_unk").value_or(false);
  data.byte_fallback = model.boolean("byte_fallback").value_or(false);
  data.ignore_merges = model.boolean("ignore_merges").value_or(false);
  read_pieces(model, data);
  read_merges(model, data);
}

// "vocab": [[piece, score], ...], an id being a position.
void read_unigram(const JsonView& model, TokenizerData& data) {
  allow_only(model, {"unk_id", "vocab", "byte_fallback"});
  data.byte_fallback = model.boolean("byte_fallback").value_or(false);
  data.fuse_unknown = true;
  const Json* vocabulary = model.array("vocab");
  if (vocabulary == nullptr || vocabulary->empty()) model.fail("vocab", "is missing or empty");
  if (vocabulary->size() > kMaxVocabulary) {
    model.fail("vocab", fmt::format("holds more than {} pieces", kMaxVocabulary));
  }
  for (const Json& pair : *vocabulary) {
    if (!pair.is_array() || pair.size() != 2 || !pair[0].is_string() || !pair[1].is_number()) {
      model.fail("vocab", "holds something that is not a piece and its score");
    }
    data.tokens.push_back(pair[0].get<std::string>());
    data.scores.push_back(pair[1].get<double>());
    const bool byte = data.byte_fallback && byte_piece(data.tokens.back());
    data.types.push_back(byte ? TokenType::Byte : TokenType::Normal);
  }
  if (const auto unknown = model.integer("unk_id")) {
    if (*unknown < 0 || *unknown >= static_cast<std::int64_t>(data.tokens.size())) {
      model.fail("unk_id", "is not that of a piece");
    }
    data.unknown = static_cast<std::int32_t>(*unknown);
  }
}

void read_added_tokens(const JsonView& tokenizer, TokenizerData& data) {
  const Json* added = tokenizer.array("added_tokens");
  if (added == nullptr) return;
  for (const Json& json : *added) {
    if (!json.is_object()) tokenizer.fail("added_tokens", "holds something that is not an object");
    const JsonView token(json, tokenizer.path(), "added_tokens.");
    const std::string piece = token.require_text("content");
    if (piece.empty()) token.fail("content", "is empty");
    const std::int64_t id = checked_id(token, "id", json.value("id", Json()));
    allow_only(token, {"id", "content", "single_word", "lstrip", "rstrip", "normalized", "special"});
    const bool special = token.boolean("special").value_or(false);
    if (!place(data, id, piece, special ? TokenType::Control : TokenType::UserDefined)) {
      token.fail("id", fmt::format("{} is that of another piece than {}", id, printable(piece)));
    }
    data.added.push_back({.id = static_cast<std::int32_t>(id),
                          .single_word = token.boolean("single_word").value_or(false),
                          .lstrip = token.boolean("lstrip").value_or(false),
                          .rstrip = token.boolean("rstrip").value_or(false),
                          .normalized = token.boolean("normalized").value_or(!special)});
  }
}

// Ids that no piece has, as the usual converters write them.
void fill_gaps(TokenizerData& data) {
  for (std::size_t i = 0; i < data.tokens.size(); ++i) {
    if (data.types[i] == TokenType::Unused) data.tokens[i] = fmt::format("[PAD{}]", i);
  }
}

}  // namespace

TokenizerData read_tokenizer_tables(const std::filesystem::path& path) {
  const Json json = read_json_object(path, kMaxFileBytes);
  const JsonView tokenizer(json, path);
  TokenizerData data;
  const JsonView model = require_model(tokenizer, data);
  read_text_pipeline(tokenizer, data);
  if (data.model == TokenizerModel::BytePairs) {
    read_byte_pairs(model, data);
  } else {
    read_unigram(model, data);
  }
  read_added_tokens(tokenizer, data);
  if (const auto unknown = model.text("unk_token")) {
    data.unknown = find_piece(data, *unknown);
    if (data.unknown < 0) model.fail("unk_token", fmt::format("\"{}\" is no piece", printable(*unknown)));
  }
  if (data.unknown >= 0) data.types[static_cast<std::size_t>(data.unknown)] = TokenType::Unknown;
  fill_gaps(data);
  read_post_processor(tokenizer, data);
  return data;
}

TokenizerData read_tokenizer_json(const std::filesystem::path& path) {
  TokenizerData data = read_tokenizer_tables(path);
  finish_tokenizer(data, path);
  return data;
}

}  // namespace thinkey
