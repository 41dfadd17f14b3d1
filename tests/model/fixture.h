// The tiny checkpoints of tests/fixtures/model (tools/make_model_fixtures.py) and what transformers
// computes from them.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/parallel.h"
#include "formats/model_file.h"
#include "formats/safetensors.h"
#include "model/decoder.h"

namespace thinkey::testing {

inline std::filesystem::path fixture_path(const std::string& file) {
  return std::filesystem::path(THINKEY_FIXTURES) / "model" / file;
}

// Both containers where both exist: "llama2" is a Hugging Face directory, "llama2.gguf" a file.
inline const std::vector<std::string>& fixture_models() {
  static const std::vector<std::string> models = {
      "llama2",       "llama2.gguf",      "llama31",     "llama31.gguf",      "llama32",
      "llama32.gguf", "eight_to_one",     "smollm2",     "eight_to_one.gguf", "smollm2.gguf",
      "linear",       "linear.gguf",      "head_dim_24", "head_dim_24.gguf",  "head_dim_40.gguf",
      "mistral_v01",  "mistral_v01.gguf", "mistral_v03", "mistral_v03.gguf",  "quantized.gguf"};
  return models;
}

// "llama2.gguf" as a test's name.
inline std::string test_name(const ::testing::TestParamInfo<std::string>& info) {
  std::string name = info.param;
  std::replace(name.begin(), name.end(), '.', '_');
  return name;
}

struct Expected {
  std::vector<std::int32_t> ids;     // [T]
  std::vector<float> logits;         // [T, V]
  std::vector<std::int32_t> greedy;  // the tokens that follow
};

inline Expected expected(const std::string& model) {
  const SafetensorsFile file(fixture_path(model.substr(0, model.find('.')) + ".expected.safetensors"));
  const auto ids = [&](const char* name) {
    const std::vector<std::int64_t> wide = to_integers(file.at(name));
    return std::vector<std::int32_t>(wide.begin(), wide.end());
  };
  return {.ids = ids("ids"), .logits = to_floats(file.at("logits")), .greedy = ids("greedy")};
}

// A fixture opened as the forward pass sees it.
struct TinyModel {
  explicit TinyModel(const std::string& model)
      : file(open_model_file(fixture_path(model))), weights(*file), expects(expected(model)) {
    set_threads(1);  // a fork-join costs more than these products
  }

  [[nodiscard]] const Config& config() const { return file->hyperparameters(); }
  [[nodiscard]] std::size_t vocabulary() const { return static_cast<std::size_t>(config().vocabulary); }
  [[nodiscard]] Decoder decoder(std::size_t chunk = 512, Precision precision = Precision::F32) const {
    return {.config = config(), .weights = weights, .precision = precision, .chunk = chunk};
  }
  [[nodiscard]] SequenceCache cache(const char* spec = "full") const {
    return {cache_shape(config()), CacheSpec::parse(spec)};
  }

  // Logits of every token of a prefill, [T, V].
  std::vector<float> all_logits(const Decoder& decoder, std::span<const std::int32_t> tokens,
                                SequenceCache& cache) const {
    std::vector<float> all;
    std::vector<float> last(vocabulary());
    std::int64_t next = 0;
    prefill(
        decoder, tokens, cache,
        {.last_logits = last, .progress = {}, .logits = [&](std::int64_t index, std::span<const float> row) {
           EXPECT_EQ(index, next++);
           all.insert(all.end(), row.begin(), row.end());
         }});
    EXPECT_EQ(next, static_cast<std::int64_t>(tokens.size()));
    EXPECT_TRUE(std::equal(last.begin(), last.end(), all.end() - static_cast<std::ptrdiff_t>(last.size())));
    return all;
  }

  // Logits of the last token only: the path that skips what nobody asked for.
  std::vector<float> last_logits(const Decoder& decoder, std::span<const std::int32_t> tokens,
                                 SequenceCache& cache) const {
    std::vector<float> last(vocabulary());
    prefill(decoder, tokens, cache, {.last_logits = last});
    return last;
  }

  // Logits of every token when each is decoded on its own: token-major order.
  std::vector<float> token_major_logits(std::span<const std::int32_t> tokens, SequenceCache& cache) const {
    DecodeState state(config(), 1);
    std::vector<float> all;
    for (const std::int32_t token : tokens) {
      const DecodeInput input{.token = token, .cache = &cache};
      decode(decoder(), {&input, 1}, state);
      all.insert(all.end(), state.logits.data(), state.logits.data() + vocabulary());
    }
    return all;
  }

  std::unique_ptr<ModelFile> file;
  Weights weights;
  Expected expects;
};

inline float largest_difference(std::span<const float> a, std::span<const float> b) {
  EXPECT_EQ(a.size(), b.size());
  float most = 0;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    const float difference = std::abs(a[i] - b[i]);
    if (!(difference <= most)) most = difference;  // a NaN stays
  }
  return most;
}

// Logits that differ by what a 16-bit cache rounds away. A single wrong position or mask moves them by
// whole units; rounding only seldom by more than a hundredth.
inline ::testing::AssertionResult close_but_for_16_bit_cache(std::span<const float> a,
                                                             std::span<const float> b) {
  const float most = largest_difference(a, b);
  double squares = 0;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    const double difference = static_cast<double>(a[i]) - static_cast<double>(b[i]);
    squares += difference * difference;
  }
  const double rms = std::sqrt(squares / static_cast<double>(a.size()));
  if (most <= 0.1F && rms <= 0.01) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << "largest difference " << most << ", rms " << rms;
}

// Row t of [T, V].
inline std::span<const float> row(std::span<const float> all, std::size_t t, std::size_t columns) {
  return all.subspan(t * columns, columns);
}

}  // namespace thinkey::testing
