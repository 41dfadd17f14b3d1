// 10 000 difficult lines with the ids and texts that the `tokenizers` package gives, in the directory that
// THINKEY_TOKENIZER_LINES names (made by tools/compare_tokenizers.py).
#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>

#include "fixtures.h"

namespace thinkey::test {
namespace {

constexpr EncodeOptions kPlain{.add_special = false, .parse_special = false};

void compare(const std::string& name, const TokenizerData& data, const nlohmann::json& lines,
             const nlohmann::json& expected) {
  const auto tokenizer = Tokenizer::create(data);
  std::size_t equal = 0;
  std::size_t decoded = 0;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const std::string line = lines[i];
    const Ids wanted = expected.at("ids")[i];
    const Ids ids = tokenizer->encode(line, kPlain);
    const bool same = ids == wanted;
    const bool same_text = tokenizer->decode(wanted, true) == expected.at("texts")[i].get<std::string>();
    equal += same ? 1 : 0;
    decoded += same_text ? 1 : 0;
    if ((same && same_text) || 2 * (i + 1) > equal + decoded + 6) continue;  // the first few are shown
    ADD_FAILURE() << name << (same ? " text of " : " ids of ") << lines[i].dump() << "\n"
                  << nlohmann::json(ids).dump() << "\n"
                  << nlohmann::json(wanted).dump() << "\n"
                  << nlohmann::json(tokenizer->decode(wanted, true)).dump() << "\n"
                  << expected.at("texts")[i].dump();
  }
  EXPECT_EQ(equal, lines.size()) << name;
  EXPECT_EQ(decoded, lines.size()) << name;
  std::cout << name << ": " << equal << " of " << lines.size() << " lines equal, " << decoded
            << " decoded equally\n";
}

TEST(TokenizerLines, GiveTheIdsOfTheTokenizersPackage) {
  const char* directory = std::getenv("THINKEY_TOKENIZER_LINES");
  if (directory == nullptr) GTEST_SKIP() << "THINKEY_TOKENIZER_LINES is not set";
  const std::filesystem::path root = directory;
  const nlohmann::json lines = read_json(root / "lines.json");
  int tokenizers = 0;
  for (const auto& entry : std::filesystem::directory_iterator(root)) {
    const std::string name = entry.path().filename().string();
    const std::size_t suffix = name.find(".ids.json");
    if (suffix == std::string::npos) continue;
    const std::string stem = name.substr(0, suffix);
    const nlohmann::json expected = read_json(entry.path());
    compare(stem + ".tokenizer.json", read_tokenizer_json(root / (stem + ".tokenizer.json")), lines,
            expected);
    const auto gguf = root / (stem + ".gguf");
    if (std::filesystem::exists(gguf)) compare(stem + ".gguf", read_gguf_vocabulary(gguf), lines, expected);
    ++tokenizers;
  }
  EXPECT_GT(tokenizers, 0) << directory;
}

}  // namespace
}  // namespace thinkey::test
