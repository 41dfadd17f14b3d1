// One decode step's attention over one layer's cache, for the storage forms side by side: time, bytes
// held, and bytes per second against a plain read of memory. Successive steps go to different layers, as
// in a model, so that nothing of a cache is found in the CPU's own; `warm` stays with one layer.
#include <benchmark/benchmark.h>

#include <memory>
#include <random>
#include <string>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/parallel.h"
#include "cache/sequence_cache.h"

namespace thinkey {
namespace {

constexpr std::size_t kTokens = 32768;
constexpr std::size_t kLayers = 16;  // Llama-3.2-1B
const AttentionShape kShape{.query_heads = 32, .kv_heads = 8, .head_dim = 64};
constexpr std::size_t kColdBytes = std::size_t{128} << 20U;  // several times the CPU's largest cache

std::vector<float> normal(std::size_t n) {
  std::mt19937_64 random(1);
  std::normal_distribution<float> gauss;
  std::vector<float> x(n);
  for (float& e : x) e = gauss(random);
  return x;
}

const std::vector<float>& some_queries() {
  static const std::vector<float> queries = normal(32 * kShape.query_heads * kShape.head_dim);
  return queries;
}

struct Compressed {
  std::string spec;
  std::unique_ptr<SequenceCache> cache;
  std::size_t layers = 0;
};

// Layers until the CPU's caches cannot hold them. Kept from one call to the next.
const Compressed& compressed(const std::string& spec) {
  static const std::vector<float> keys = normal(kShape.kv_heads * kTokens * kShape.head_dim);
  static Compressed last;
  if (last.spec == spec) return last;
  last = {spec,
          std::make_unique<SequenceCache>(CacheShape::uniform(kLayers, kShape), CacheSpec::parse(spec))};
  PromptView prompt;
  prompt.tokens = prompt.capacity = kTokens;
  prompt.queries = 32;
  prompt.q = some_queries().data();
  prompt.q_token_stride = kShape.query_heads * kShape.head_dim;
  prompt.q_head_stride = kShape.head_dim;
  prompt.k = prompt.v = keys.data();
  do {
    last.cache->compress_prompt(last.layers++, prompt);
  } while (last.layers < kLayers && last.cache->report().bytes < kColdBytes);
  return last;
}

void decode_attention(benchmark::State& state, const std::string& spec, bool warm = false) {
  const Compressed& held = compressed(spec);
  SequenceCache& cache = *held.cache;
  const auto bytes = static_cast<double>(cache.report().bytes) / static_cast<double>(held.layers);
  const std::size_t layers = warm ? 1 : held.layers;
  const std::vector<float>& queries = some_queries();
  std::vector<float> out(kShape.query_heads * kShape.head_dim);
  std::size_t layer = 0;
  for (auto _ : state) {
    cache.attend(layer, 1, kTokens, queries.data(), out.data());
    benchmark::DoNotOptimize(out.data());
    layer = (layer + 1) % layers;
  }
  state.counters["MiB"] = bytes / (1 << 20);
  state.counters["GB/s"] = benchmark::Counter(bytes * 1e-9, benchmark::Counter::kIsIterationInvariantRate);
}

// The machine's limit beside it: every thread sums its part of 256 MiB.
void read_memory(benchmark::State& state) {
  AlignedBuffer<std::uint64_t> memory(std::size_t{1} << 25U);
  memory.fill(1);
  const std::size_t parts = 64;
  std::vector<std::uint64_t> sums(parts);
  for (auto _ : state) {
    parallel_for(parts, [&](std::size_t p) {
      std::uint64_t sum = 0;
      for (std::size_t i = memory.size() / parts * p; i < memory.size() / parts * (p + 1); ++i) {
        sum += memory[i];
      }
      sums[p] = sum;
    });
    benchmark::DoNotOptimize(sums.data());
  }
  state.counters["MiB"] = static_cast<double>(memory.bytes()) / (1 << 20);
  state.counters["GB/s"] = benchmark::Counter(static_cast<double>(memory.bytes()) * 1e-9,
                                              benchmark::Counter::kIsIterationInvariantRate);
}

BENCHMARK(read_memory)->Unit(benchmark::kMillisecond)->UseRealTime();
#define SPEC(name, ...) \
  BENCHMARK_CAPTURE(decode_attention, name, __VA_ARGS__)->Unit(benchmark::kMillisecond)->UseRealTime()
SPEC(full, "full");
SPEC(think_0_4, "think:0.4,form=paper");
SPEC(think_0_6, "think:0.6,form=paper");
SPEC(think_0_8_mixed, "think:0.8");
SPEC(think_keys_0_4_values_0_3, "think:keys=0.4,values=0.3,form=paper");
SPEC(kivi_8, "kivi:8");
SPEC(kivi_4, "kivi:4");
SPEC(kivi_2, "kivi:2");
SPEC(think_0_4_kivi_4, "think:0.4,form=paper+kivi:4");
SPEC(turbo_4, "turbo:4");
SPEC(turbo_3, "turbo:3");
SPEC(turbo_3_2, "turbo:keys=3,values=2");
SPEC(turbo_2, "turbo:2");
SPEC(snapkv_2048_think_0_4, "snapkv:2048+think:0.4,form=paper");
SPEC(snapkv_2048_think_0_4_warm, "snapkv:2048+think:0.4,form=paper", true);

}  // namespace
}  // namespace thinkey
