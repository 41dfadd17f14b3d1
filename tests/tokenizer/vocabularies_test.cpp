// Published vocabularies with the ids their own libraries give: files NAME.gguf with NAME.gguf.inp and .out,
// as llama.cpp's source has them under models/, in the directory that THINKEY_VOCABULARIES names.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <sstream>

#include "fixtures.h"
#include "formats/gguf.h"

namespace thinkey::test {
namespace {

constexpr EncodeOptions kPlain{.add_special = false, .parse_special = false};
constexpr std::string_view kSeparator = "\n__ggml_vocab_test__\n";

std::string read_text(const std::filesystem::path& path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

std::vector<std::filesystem::path> vocabularies(const std::filesystem::path& directory) {
  std::vector<std::filesystem::path> out;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    const bool complete = std::filesystem::exists(entry.path().string() + ".inp") &&
                          std::filesystem::exists(entry.path().string() + ".out");
    if (entry.path().extension() == ".gguf" && complete) out.push_back(entry.path());
  }
  std::sort(out.begin(), out.end());
  return out;
}

// Lines of the file's test that come out equal, of how many.
std::pair<int, int> count_equal(const std::filesystem::path& path) {
  const auto tokenizer = Tokenizer::create(read_gguf_vocabulary(path));
  const std::string input = read_text(path.string() + ".inp");
  std::istringstream output(read_text(path.string() + ".out"));
  int equal = 0;
  int lines = 0;
  std::size_t at = 0;
  for (std::string line; std::getline(output, line); ++lines) {
    if (at >= input.size()) break;
    const std::size_t end =
        std::min(input.find(kSeparator, at), input.size());  // not every file's last text ends so
    const std::string text = input.substr(at, end - at);
    at = std::min(end + kSeparator.size(), input.size());
    std::istringstream numbers(line);
    const Ids expected{std::istream_iterator<std::int32_t>(numbers), {}};
    const Ids ids = tokenizer->encode(text, kPlain);
    EXPECT_EQ(ids, expected) << path << ": " << nlohmann::json(text).dump();
    equal += ids == expected ? 1 : 0;
    EXPECT_EQ(tokenizer->decode(ids), text) << path;
  }
  EXPECT_EQ(at, input.size()) << path;
  return {equal, lines};
}

TEST(Vocabularies, GiveTheIdsOfTheirLibraries) {
  const char* directory = std::getenv("THINKEY_VOCABULARIES");
  if (directory == nullptr) GTEST_SKIP() << "THINKEY_VOCABULARIES is not set";
  const auto paths = vocabularies(directory);
  ASSERT_FALSE(paths.empty()) << directory;
  int whole = 0;
  for (const auto& path : paths) {
    const std::string model = GgufFile(path).text("tokenizer.ggml.model").value_or("");
    if (model == "bert") {  // WordPiece: no decoder model has it
      std::cout << path.filename() << ": " << model << " is not supported\n";
      EXPECT_EQ(error_of([&] { (void)read_gguf_vocabulary(path); }).kind(), ErrorKind::Data);
      continue;
    }
    const auto [equal, lines] = count_equal(path);
    std::cout << path.filename() << ": " << equal << " of " << lines << " lines equal\n";
    whole += equal == lines ? 1 : 0;
  }
  std::cout << whole << " of " << paths.size() << " vocabularies equal\n";
}

}  // namespace
}  // namespace thinkey::test
