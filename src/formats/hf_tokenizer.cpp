#include "formats/hf_tokenizer.h"

#include <optional>
#include <string>

#include "base/fail.h"
#include "formats/file_exists.h"
#include "formats/hf_chat_templates.h"
#include "formats/json.h"
#include "formats/tokenizer_json.h"
#include "formats/tokenizer_tables.h"

namespace thinkey {
namespace {

constexpr std::size_t kMaxFileBytes = std::size_t{16} << 20U;

// A special token's text: a string, or an object with "content". nullopt when absent or null.
std::optional<std::string> token_text(const JsonView& object, const std::string& key) {
  const Json* value = object.find(key);
  if (value == nullptr) return std::nullopt;
  if (value->is_object()) return JsonView(*value, object.path(), key + ".").require_text("content");
  return object.text(key);
}

void set_special_tokens(const JsonView& file, TokenizerData& data) {
  const auto set = [&](const std::string& key, std::int32_t& id) {
    const auto piece = token_text(file, key);
    if (!piece) return;
    const std::int32_t found = find_piece(data, *piece);
    if (found >= 0) id = found;
  };
  set("bos_token", data.bos);
  set("eos_token", data.eos);
  // Not "unk_token": what has no piece becomes what tokenizer.json's model says.
}

// The small files beside tokenizer.json, least important first.
void read_side_files(const std::filesystem::path& directory, TokenizerData& data) {
  const auto map_path = directory / "special_tokens_map.json";
  if (file_exists(map_path)) {
    const Json json = read_json_object(map_path, kMaxFileBytes);
    set_special_tokens(JsonView(json, map_path), data);
    read_special_token_texts(JsonView(json, map_path), data);
  }
  const auto config_path = directory / "tokenizer_config.json";
  if (file_exists(config_path)) {
    const Json json = read_json_object(config_path, kMaxFileBytes);
    const JsonView config(json, config_path);
    set_special_tokens(config, data);
    read_special_token_texts(config, data);
    data.add_bos = config.boolean("add_bos_token").value_or(data.add_bos);
    data.add_eos = config.boolean("add_eos_token").value_or(data.add_eos);
    read_chat_templates(directory, config, data);
  } else {
    read_chat_templates(directory, std::nullopt, data);
  }
}

// Makes the tables as long as the embedding: converters pad vocabularies, and some tokenizers name
// added tokens that the model was never given.
void fit_to_vocabulary(TokenizerData& data, std::size_t vocabulary, const std::filesystem::path& path) {
  for (std::size_t i = vocabulary; i < data.tokens.size(); ++i) {
    const TokenType type = data.types[i];
    if (type == TokenType::Normal || type == TokenType::Byte) {
      fail_data("{}: {} tokens, but vocab_size in config.json is {}", path.string(), data.tokens.size(),
                vocabulary);
    }
  }
  const std::size_t known = data.tokens.size();
  data.tokens.resize(vocabulary);
  data.types.resize(vocabulary, TokenType::Unused);
  if (data.model != TokenizerModel::BytePairs) data.scores.resize(vocabulary);
  std::erase_if(data.added, [vocabulary](const AddedToken& token) {
    return static_cast<std::size_t>(token.id) >= vocabulary;
  });
  for (std::size_t i = known; i < vocabulary; ++i) data.tokens[i] = fmt::format("[PAD{}]", i);
  for (std::int32_t* id : {&data.bos, &data.eos, &data.unknown}) {
    if (*id >= static_cast<std::int64_t>(vocabulary)) *id = -1;
  }
}

}  // namespace

TokenizerData read_hf_tokenizer(const std::filesystem::path& directory, const HfConfig& config) {
  const std::int64_t vocabulary = config.vocabulary;
  const auto in_range = [&](std::int64_t id) { return id >= 0 && id < vocabulary; };
  const auto path = directory / "tokenizer.json";
  TokenizerData data;
  if (file_exists(path)) {
    data = read_tokenizer_tables(path);
    read_side_files(directory, data);
    fit_to_vocabulary(data, static_cast<std::size_t>(vocabulary), path);
  }

  // Ids in the configurations that no token can have are left out: many tiny models carry a larger
  // model's ids along.
  std::vector<std::int64_t> ends = config.eos;
  const auto generation_path = directory / "generation_config.json";
  if (file_exists(generation_path)) {
    const Json json = read_json_object(generation_path, kMaxFileBytes);
    const std::vector<std::int64_t> more = id_list(JsonView(json, generation_path), "eos_token_id");
    ends.insert(ends.end(), more.begin(), more.end());
  }
  for (const std::int64_t id : ends) {
    if (!in_range(id)) continue;
    data.end_of_generation.push_back(static_cast<std::int32_t>(id));
    if (data.eos < 0) data.eos = static_cast<std::int32_t>(id);
  }
  if (data.bos < 0 && config.bos && in_range(*config.bos)) data.bos = static_cast<std::int32_t>(*config.bos);
  data.add_bos = data.add_bos && data.bos >= 0;
  data.add_eos = data.add_eos && data.eos >= 0;
  finish_tokenizer(data, path);
  return data;
}

}  // namespace thinkey
