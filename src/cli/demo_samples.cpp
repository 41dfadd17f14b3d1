#include "cli/demo_samples.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <random>
#include <sstream>
#include <string_view>

#include "base/fail.h"
#include "cli/input.h"

namespace thinkey::cli {

std::vector<NeedleSample> read_samples(const std::filesystem::path& path, std::size_t limit) {
  std::istringstream lines(read_file(path));
  std::vector<NeedleSample> samples;
  std::string line;
  for (std::size_t number = 1; samples.size() < limit && std::getline(lines, line); ++number) {
    if (line.empty()) continue;
    try {
      const auto json = nlohmann::json::parse(line);
      samples.push_back(
          {json.at("document"), json.at("question"), json.at("answer"), json.value("depth", 0.0)});
    } catch (const nlohmann::json::exception&) {
      fail_data("{}: line {}: not a sample; a line is {{\"document\", \"question\", \"answer\"}}",
                path.string(), number);
    }
  }
  if (samples.empty()) fail_data("{}: no samples in it", path.string());
  return samples;
}

namespace {

constexpr std::array<std::string_view, 24> kKeys = {
    "Lisbon",         "Oslo",          "Cairo",           "Quito",       "Dublin",        "Vienna",
    "Athens",         "Madrid",        "silver falcon",   "quiet otter", "amber lantern", "frozen harbour",
    "golden compass", "crimson raven", "hollow mountain", "iron bridge", "velvet candle", "distant island",
    "copper kettle",  "violet heron",  "Alice",           "Dmitri",      "Greta",         "Yusuf"};

// Uniform in [0, n); the standard's distributions differ between libraries.
std::size_t below(std::mt19937_64& random, std::size_t n) { return static_cast<std::size_t>(random() % n); }

// Pieces of text that a needle may stand between: sentences, white space in them made single.
std::vector<std::string> sentences_of(const std::string& text) {
  std::vector<std::string> sentences;
  std::istringstream words(text);
  std::string word;
  std::string sentence;
  while (words >> word) {
    sentence += (sentence.empty() ? "" : " ") + word;
    if (std::string_view(".!?:").find(word.back()) != std::string_view::npos || sentence.size() > 300) {
      sentences.push_back(std::move(sentence));
      sentence.clear();
    }
  }
  if (!sentence.empty()) sentences.push_back(std::move(sentence));
  return sentences;
}

}  // namespace

std::vector<NeedleSample> hide_needles(const Model& model, const std::string& text, std::int64_t tokens,
                                       std::size_t count, std::uint64_t seed) {
  constexpr std::size_t kNeedles = 3;
  const std::vector<std::string> sentences = sentences_of(text);
  std::vector<std::int64_t> lengths;
  for (const std::string& sentence : sentences) {
    lengths.push_back(static_cast<std::int64_t>(model.tokenize(" " + sentence, false).size()));
  }
  std::mt19937_64 random(seed);
  std::vector<NeedleSample> samples;
  for (std::size_t i = 0; i < count; ++i) {
    // Sentences from a random place on, wrapping around, until the document is long enough.
    std::vector<std::string> document;
    std::int64_t length = 0;
    std::size_t at = sentences.empty() ? 0 : below(random, sentences.size());
    while (document.size() < sentences.size() && length + lengths[at] <= tokens) {
      document.push_back(sentences[at]);
      length += lengths[at];
      at = (at + 1) % sentences.size();
    }
    if (length < tokens / 2) {
      fail_data("demo: the real text has only {} tokens, {} are needed", length, tokens);
    }

    NeedleSample sample;
    std::vector<std::string_view> keys(kKeys.begin(), kKeys.end());
    for (std::size_t n = 0; n < kNeedles; ++n) {
      const std::size_t pick = below(random, keys.size());
      const std::string key(keys[pick]);
      keys.erase(keys.begin() + static_cast<std::ptrdiff_t>(pick));
      const std::string value = std::to_string(10000 + below(random, 90000));
      const std::size_t place = below(random, document.size() + 1);
      document.insert(document.begin() + static_cast<std::ptrdiff_t>(place),
                      fmt::format("The passkey for {} is {}.", key, value));
      if (n + 1 == kNeedles) {
        sample.question = "What is the passkey for " + key + "?";
        sample.answer = value;
        sample.depth = static_cast<double>(place) / static_cast<double>(document.size());
      }
    }
    for (const std::string& sentence : document) {
      sample.document += (sample.document.empty() ? "" : " ") + sentence;
    }
    samples.push_back(std::move(sample));
  }
  return samples;
}

}  // namespace thinkey::cli
