#include "formats/tokenizer_json.h"

#include <algorithm>
#include <string_view>
#include <unordered_set>
#include <utility>

#include "base/fail.h"
#include "formats/json.h"
#include "formats/pre_tokenizer_json.h"
#include "formats/printable.h"
#include "formats/tokenizer_tables.h"

namespace thinkey {
namespace {

constexpr std::size_t kMaxFileBytes = std::size_t{256} << 20U;

JsonView require_byte_pairs(const JsonView& tokenizer) {
  const auto model = tokenizer.object("model");
  if (!model) tokenizer.fail("model", "is missing");
  const std::string type = model->text("type").value_or("BPE");  // the oldest files leave it out
  if (type != "BPE") model->fail("type", fmt::format("\"{}\" is not supported (BPE is)", printable(type)));
  if (model->number("dropout").value_or(0) != 0) model->fail("dropout", "is not supported");
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (!model->text(key).value_or("").empty()) model->fail(key, "is not supported");
  }
  return *model;
}

// Puts `piece` at its id, making room; false when another piece is there already.
bool place(TokenizerData& data, std::int64_t id, const std::string& piece, TokenType type) {
  const auto at = static_cast<std::size_t>(id);
  if (at >= data.tokens.size()) {
    data.tokens.resize(at + 1);
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

void read_vocabulary(const JsonView& model, TokenizerData& data) {
  const auto vocabulary = model.object("vocab");
  if (!vocabulary || vocabulary->json().empty()) model.fail("vocab", "is missing or empty");
  const bool bytes = data.kind == TokenizerKind::SentencePiece;
  for (const auto& [piece, json] : vocabulary->json().items()) {
    const std::int64_t id = checked_id(model, "vocab", json);
    const TokenType type = bytes && byte_piece(piece) ? TokenType::Byte : TokenType::Normal;
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
    const std::string both = merge.first + merge.second;
    if (!pieces.contains(merge.first) || !pieces.contains(merge.second) || !pieces.contains(both)) {
      model.fail("merges", fmt::format("holds \"{}\", which is not made of pieces", printable(both)));
    }
    data.merges.push_back(std::move(merge));
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
    const bool special = token.boolean("special").value_or(false);
    if (!place(data, id, piece, special ? TokenType::Control : TokenType::UserDefined)) {
      token.fail("id", fmt::format("{} is that of another piece than {}", id, printable(piece)));
    }
  }
}

// Ids that no piece has, as the usual converters write them.
void fill_gaps(TokenizerData& data) {
  for (std::size_t i = 0; i < data.tokens.size(); ++i) {
    if (data.types[i] == TokenType::Unused) data.tokens[i] = fmt::format("[PAD{}]", i);
  }
}

// The piece of a template's special token, or nullopt for the text itself.
std::optional<std::string> special_piece(const JsonView& processor, const Json& item) {
  if (!item.is_object()) processor.fail("single", "holds something that is not an object");
  const JsonView view(item, processor.path(), "post_processor.single.");
  const auto special = view.object("SpecialToken");
  if (!special) return std::nullopt;
  return special->require_text("id");
}

// The tokens that TemplateProcessing puts around a single text become BOS and EOS.
void read_template(const JsonView& processor, TokenizerData& data) {
  const Json* single = processor.array("single");
  if (single == nullptr) processor.fail("single", "is missing");
  bool before_text = true;
  for (const Json& item : *single) {
    const auto piece = special_piece(processor, item);
    if (!piece) {
      before_text = false;
      continue;
    }
    bool& adds = before_text ? data.add_bos : data.add_eos;
    if (adds) processor.fail("single", "puts more than one token in front of or behind the text");
    adds = true;
    const std::int32_t id = find_piece(data, *piece);
    if (id < 0) processor.fail("single", fmt::format("names {}, which is not a piece", printable(*piece)));
    (before_text ? data.bos : data.eos) = id;
  }
}

void read_post_processor(const JsonView& processor, TokenizerData& data, bool nested) {
  const std::string type = processor.require_text("type");
  if (type == "ByteLevel") return;  // only trims offsets
  if (type == "TemplateProcessing") return read_template(processor, data);
  if (type != "Sequence" || nested) {
    processor.fail("type", fmt::format("\"{}\" is not supported", printable(type)));
  }
  const Json* parts = processor.array("processors");
  if (parts == nullptr) processor.fail("processors", "is missing");
  for (const Json& part : *parts) {
    if (!part.is_object()) processor.fail("processors", "holds something that is not an object");
    read_post_processor(JsonView(part, processor.path(), "post_processor."), data, true);
  }
}

}  // namespace

std::int32_t find_piece(const TokenizerData& data, const std::string& piece) {
  const auto found = std::find(data.tokens.begin(), data.tokens.end(), piece);
  return found == data.tokens.end() ? -1 : static_cast<std::int32_t>(found - data.tokens.begin());
}

TokenizerData read_tokenizer_tables(const std::filesystem::path& path) {
  const Json json = read_json_object(path, kMaxFileBytes);
  const JsonView tokenizer(json, path);
  const JsonView model = require_byte_pairs(tokenizer);
  const TextPipeline pipeline = read_text_pipeline(tokenizer);

  TokenizerData data;
  data.kind = pipeline.byte_level ? TokenizerKind::BytePairs : TokenizerKind::SentencePiece;
  data.pre = pipeline.pre;
  data.add_space_prefix = pipeline.add_space_prefix;
  data.ignore_merges = model.boolean("ignore_merges").value_or(false);
  if (!pipeline.byte_level && !model.boolean("byte_fallback").value_or(false)) {
    model.fail("byte_fallback", "is not true; SentencePiece models without it are not supported");
  }
  read_vocabulary(model, data);
  read_merges(model, data);
  read_added_tokens(tokenizer, data);
  fill_gaps(data);
  if (const auto unknown = model.text("unk_token")) {
    data.unknown = find_piece(data, *unknown);
    if (data.unknown >= 0 && !pipeline.byte_level) {
      data.types[static_cast<std::size_t>(data.unknown)] = TokenType::Unknown;
    }
  }
  if (const auto processor = tokenizer.object("post_processor")) read_post_processor(*processor, data, false);
  return data;
}

TokenizerData read_tokenizer_json(const std::filesystem::path& path) {
  TokenizerData data = read_tokenizer_tables(path);
  finish_tokenizer(data, path);
  return data;
}

}  // namespace thinkey
