// The vocabularies of tests/fixtures/tokenizer (made by tools/make_tokenizer_fixtures.py).
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "formats/pre_tokenizer_table.h"
#include "formats/tokenizer_data.h"
#include "thinkey/error.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/utf8.h"

namespace thinkey::test {

using Ids = std::vector<std::int32_t>;

inline std::filesystem::path fixture(const std::string& name) {
  return std::filesystem::path(THINKEY_FIXTURES) / "tokenizer" / name;
}

inline nlohmann::json read_json(const std::filesystem::path& path) {
  std::ifstream stream(path);
  if (!stream) throw std::runtime_error("cannot open " + path.string());
  return nlohmann::json::parse(stream);
}

// spm.json, spm_plain.json
inline TokenizerData read_tables(const std::string& name) {
  const nlohmann::json json = read_json(fixture(name));
  TokenizerData data;
  data.model = TokenizerModel::ScoredPairs;
  data.tokens = json.at("tokens").get<std::vector<std::string>>();
  data.scores = json.at("scores").get<std::vector<double>>();
  for (const int type : json.at("types")) data.types.push_back(static_cast<TokenType>(type));
  data.bos = json.at("bos");
  data.eos = json.at("eos");
  data.unknown = json.at("unknown");
  set_space_mark_pipeline(json.at("add_space_prefix"), data);
  return data;
}

// The pipeline that GGUF files call `name`, with everything else as it is.
inline void use_pre_tokenizer(const std::string& name, TokenizerData& data) {
  TokenizerData named;
  set_pre_tokenizer(name, named);
  data.normalizers = named.normalizers;
  data.splits = named.splits;
  data.decoders = named.decoders;
}

// By the names of ids.json: "spm", "spm_plain", "spm.tokenizer", "bpe_<pre>".
inline TokenizerData tables_of(const std::string& name) {
  if (name == "spm" || name == "spm_plain") return read_tables(name + ".json");
  const bool byte_level = name.starts_with("bpe_");
  TokenizerData data =
      read_tokenizer_json(fixture(byte_level ? name + ".tokenizer.json" : "spm.tokenizer.json"));
  if (byte_level) use_pre_tokenizer(name.substr(4), data);
  return data;
}

inline std::unique_ptr<Tokenizer> make(const std::string& name) { return Tokenizer::create(tables_of(name)); }

inline constexpr const char* kNames[] = {"spm",        "spm_plain",     "spm.tokenizer", "bpe_gpt-2",
                                         "bpe_smollm", "bpe_llama-bpe", "bpe_default"};

// Up to `length` random characters from all planes, without U+2581, which SentencePiece makes a space.
inline std::string random_text(std::mt19937& random, int length) {
  const auto pick = [&random](int low, int high) {
    return std::uniform_int_distribution<int>(low, high)(random);
  };
  std::string text;
  for (int i = pick(0, length); i > 0; --i) {
    int character = 0;
    switch (pick(0, 6)) {
      case 0:
        character = pick(0, 0x1F);
        break;
      case 1:
      case 2:
        character = pick(0x20, 0x7E);
        break;
      case 3:
        character = pick(0x7F, 0x7FF);
        break;
      case 4:
        character = ' ';
        break;
      case 5:
        character = pick(0x800, 0xFFFF);
        break;
      default:
        character = pick(0x10000, 0x10FFFF);
        break;
    }
    if ((character >= 0xD800 && character <= 0xDFFF) || character == 0x2581) character = 'x';
    append_utf8(text, static_cast<char32_t>(character));
  }
  return text;
}

// The Error that `action` throws; fails the test when it throws none.
template <typename Action>
Error error_of(Action action) {
  try {
    action();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "no error was thrown";
  return {ErrorKind::Usage, ""};
}

}  // namespace thinkey::test
