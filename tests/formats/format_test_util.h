// Fixtures, temporary files and the shape that every error must have.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>

#include "formats/model_file.h"
#include "model/spec_reader.h"
#include "model/weights.h"
#include "thinkey/error.h"

namespace thinkey::testing {

inline std::filesystem::path fixture(const std::string& name) {
  return std::filesystem::path(THINKEY_FIXTURES) / "formats" / name;
}

inline std::string read_file(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  EXPECT_TRUE(in.good()) << path;
  return {std::istreambuf_iterator<char>(in), {}};
}

inline void write_file(const std::filesystem::path& path, std::string_view bytes) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  ASSERT_TRUE(out.good()) << path;
}

// What tools/make_format_fixtures.py wrote into the fixtures.
inline const nlohmann::json& expected() {
  static const nlohmann::json json = nlohmann::json::parse(read_file(fixture("expected.json")));
  return json;
}

inline std::string fnv1a(std::span<const std::byte> bytes) {
  std::uint64_t hash = 0xCBF29CE484222325U;
  for (const std::byte byte : bytes) hash = (hash ^ static_cast<std::uint64_t>(byte)) * 0x100000001B3U;
  std::string out(16, '0');
  for (std::size_t i = 16; i-- > 0; hash >>= 4U) out[i] = "0123456789abcdef"[hash & 15U];
  return out;
}

// A directory of its own for one test, removed at the end.
class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string name = (std::filesystem::temp_directory_path() / "thinkey-formats-XXXXXX").string();
    EXPECT_NE(::mkdtemp(name.data()), nullptr);
    path_ = name;
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  [[nodiscard]] std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

inline void expect_good_message(const Error& error, const std::filesystem::path& path,
                                std::string_view part) {
  const std::string message = error.what();
  EXPECT_EQ(error.kind(), ErrorKind::Data);
  EXPECT_EQ(message.find('\n'), std::string::npos) << message;
  EXPECT_NE(message.find(path.string()), std::string::npos) << message;
  EXPECT_NE(message.find(part), std::string::npos) << "wanted: " << part << "\nmessage: " << message;
}

// `call` must throw Error(Data) with one line that has `path` and `part`.
template <typename Call>
void expect_data_error(const std::filesystem::path& path, std::string_view part, Call&& call) {
  try {
    call();
    ADD_FAILURE() << "no error; wanted: " << part;
  } catch (const Error& error) {
    expect_good_message(error, path, part);
  }
}

// A file opened as an engine does: its hyperparameters understood, its tensors checked and bound.
struct OpenedModel {
  explicit OpenedModel(const std::filesystem::path& path)
      : file(open_model_file(path)), spec(read_spec(*file)), weights(*file, spec) {}
  std::unique_ptr<ModelFile> file;
  ModelSpec spec;
  Weights weights;
};
inline OpenedModel open_as_model(const std::filesystem::path& path) { return OpenedModel(path); }

// Opens what may be damaged: either it loads or it throws as it should. True when it loaded.
inline bool loads_or_throws(const std::filesystem::path& open, const std::filesystem::path& named) {
  try {
    (void)open_as_model(open);
    return true;
  } catch (const Error& error) {
    expect_good_message(error, named, "");
    return false;
  }
}

// The expected tensors of a GGUF fixture are there, in order, and no others but RoPE's factors.
inline void expect_tensors(const ModelFile& model, const nlohmann::json& wanted) {
  std::vector<const Tensor*> weights;
  for (const Tensor& tensor : model.tensors()) {
    if (tensor.name != "rope_freqs.weight") weights.push_back(&tensor);
  }
  ASSERT_EQ(weights.size(), wanted.size());
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    const Tensor& tensor = *weights[i];
    SCOPED_TRACE(tensor.name);
    EXPECT_EQ(tensor.name, wanted[i]["name"]);
    EXPECT_EQ(traits(tensor.type).name, wanted[i]["type"].get<std::string>());
    EXPECT_EQ(tensor.rows, wanted[i]["rows"]);
    EXPECT_EQ(tensor.cols, wanted[i]["cols"]);
    EXPECT_EQ(fnv1a({tensor.data, tensor.bytes}), wanted[i]["fnv1a"]);
    EXPECT_EQ(model.find(tensor.name), &tensor);
  }
}

inline void expect_dimensions(const ModelSpec& spec, const nlohmann::json& wanted) {
  EXPECT_EQ(spec.layers.size(), wanted["layers"]);
  EXPECT_EQ(spec.width, wanted["width"]);
  EXPECT_EQ(spec.heads().query_heads, wanted["query_heads"]);
  EXPECT_EQ(spec.heads().kv_heads, wanted["kv_heads"]);
  EXPECT_EQ(spec.heads().head_dim, wanted["head_dim"]);
  EXPECT_EQ(spec.layers[0].feed_forward.width, wanted["ffn_width"]);
  EXPECT_EQ(spec.vocabulary, wanted["vocabulary"]);
}

inline std::vector<int> type_numbers(const TokenizerData& data) {
  std::vector<int> out;
  for (const TokenType type : data.types) out.push_back(static_cast<int>(type));
  return out;
}

}  // namespace thinkey::testing
