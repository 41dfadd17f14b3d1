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

#include "backend/cpu/cpu_backend.h"
#include "base/parallel.h"
#include "formats/model_file.h"
#include "formats/safetensors.h"
#include "model/forward.h"
#include "model/spec_reader.h"
#include "model/weights.h"

namespace thinkey::testing {

inline std::filesystem::path fixture_path(const std::string& file) {
  return std::filesystem::path(THINKEY_FIXTURES) / "model" / file;
}

// Every checkpoint there is: "llama2" is a Hugging Face directory, "llama2.gguf" a file.
inline const std::vector<std::string>& fixture_models() {
  static const std::vector<std::string> models = [] {
    std::vector<std::string> found;
    for (const auto& entry : std::filesystem::directory_iterator(fixture_path(""))) {
      if (entry.is_directory() || entry.path().extension() == ".gguf") {
        found.push_back(entry.path().filename().string());
      }
    }
    std::sort(found.begin(), found.end());
    return found;
  }();
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
  explicit TinyModel(const std::string& model, const CpuOptions& options = {})
      : file(open_model_file(fixture_path(model))),
        spec(read_spec(*file)),
        weights(*file, spec),
        backend(cpu_backend(options)),
        expects(expected(model)) {
    set_threads(1);  // a fork-join costs more than these products
  }

  [[nodiscard]] const Network& network() const { return weights.network(); }
  [[nodiscard]] std::size_t vocabulary() const { return network().vocabulary; }
  [[nodiscard]] Decoder decoder(std::size_t chunk = 512) const {
    return {.network = network(), .backend = *backend, .chunk = chunk};
  }
  // LongRoPE and dynamic NTK: positions of long sequences have other angles (RopeSpec::limit).
  [[nodiscard]] bool positions_depend_on_length() const {
    const auto limit = network().ropes.empty() ? 0 : network().ropes.front().limit;
    return limit > 0 && static_cast<std::size_t>(expects.ids.size()) > limit;
  }
  [[nodiscard]] CacheShape shape() const { return cache_shape(spec); }
  [[nodiscard]] SequenceCache cache(const char* text = "full") const {
    return {shape(), CacheSpec::parse(text)};
  }

  // Logits of every token of a prefill, [T, V].
  std::vector<float> all_logits(const Decoder& decoder, std::span<const std::int32_t> tokens,
                                SequenceCache& cache) const {
    std::vector<float> all;
    std::vector<float> last(vocabulary());
    std::int64_t next = 0;
    prefill(
        decoder, tokens, cache,
        {.last_logits = last, .progress = {}, .logits = [&](std::size_t index, std::span<const float> row) {
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
    std::vector<float> all;
    for (const std::int32_t token : tokens) {
      const std::vector<float> next = step(decoder(), {{.token = token, .cache = &cache}});
      all.insert(all.end(), next.begin(), next.end());
    }
    return all;
  }

  // Logits [B, V] of a decode step.
  static std::vector<float> step(const Decoder& decoder, const std::vector<DecodeInput>& batch) {
    const auto pass = decoder.backend.pass(decoder.network, decode_request(decoder, batch.size()), nullptr);
    std::vector<float> logits(batch.size() * decoder.network.vocabulary);
    decode(decoder, batch, *pass, logits.data());
    return logits;
  }

  std::unique_ptr<ModelFile> file;
  ModelSpec spec;
  Weights weights;
  std::unique_ptr<Backend> backend;
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
