#include "eval/needle/needle_samples.h"

#include <algorithm>
#include <array>
#include <random>
#include <string_view>

#include "base/fail.h"
#include "eval/needle/haystack.h"
#include "eval/run/json_lines.h"

namespace thinkey::eval {

std::vector<NeedleSample> read_samples(const std::filesystem::path& path, std::size_t limit) {
  std::vector<NeedleSample> samples;
  for (const JsonLine& line : read_json_lines(path, limit)) {
    samples.push_back(
        {line.text("document"), line.text("question"), line.text("answer"), line.real("depth", 0.0)});
  }
  return samples;
}

namespace {

constexpr std::array<std::string_view, 24> kKeys = {
    "Lisbon",         "Oslo",          "Cairo",           "Quito",       "Dublin",        "Vienna",
    "Athens",         "Madrid",        "silver falcon",   "quiet otter", "amber lantern", "frozen harbour",
    "golden compass", "crimson raven", "hollow mountain", "iron bridge", "velvet candle", "distant island",
    "copper kettle",  "violet heron",  "Alice",           "Dmitri",      "Greta",         "Yusuf"};

}  // namespace

std::vector<NeedleSample> hide_needles(const Model& model, const std::string& text, std::size_t tokens,
                                       std::size_t count, std::uint64_t seed) {
  constexpr std::size_t kNeedles = 3;
  const std::vector<std::string> sentences = sentences_of(text);
  std::vector<std::size_t> lengths;
  for (const std::string& sentence : sentences) {
    lengths.push_back(model.tokenize(" " + sentence, {.add_special = false}).size());
  }
  std::mt19937_64 random(seed);
  std::vector<NeedleSample> samples;
  for (std::size_t i = 0; i < count; ++i) {
    // Sentences from a random place on, wrapping around, until the document is long enough.
    std::vector<std::string> document;
    std::size_t length = 0;
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

}  // namespace thinkey::eval
