// Decode products of every file type from memory: 2048 x 8192 matrices, one after the other, more than any
// cache holds. Bytes of weights per second, beside a plain read of as much memory by as many threads.
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <vector>

#include "backend/cpu/ops/matvec.h"
#include "backend/cpu/ops/packed_matrix.h"
#include "base/aligned_buffer.h"
#include "base/half.h"
#include "base/parallel.h"

namespace thinkey {
namespace {

constexpr std::size_t kRows = 8192;
constexpr std::size_t kColumns = 2048;
constexpr std::size_t kMemory = std::size_t{192} << 20U;

// Random bytes whose 16-bit pieces are all small positive numbers, whatever they are read as.
const AlignedBuffer<std::uint16_t>& memory() {
  static const AlignedBuffer<std::uint16_t> bytes = [] {
    AlignedBuffer<std::uint16_t> out(kMemory / 2);
    std::mt19937 random(1);
    for (std::uint16_t& word : out.span()) word = static_cast<std::uint16_t>(random() & 0x2FFFU);
    return out;
  }();
  return bytes;
}

void set_rate(benchmark::State& state, double bytes) {
  state.counters["GB/s"] = benchmark::Counter(bytes * 1e-9, benchmark::Counter::kIsIterationInvariantRate);
}

// range(0): threads.
void read_memory(benchmark::State& state) {
  set_threads(static_cast<int>(state.range(0)));
  const auto* words = reinterpret_cast<const std::uint64_t*>(memory().data());
  constexpr std::size_t kParts = 64;
  constexpr std::size_t kPart = kMemory / 8 / kParts;
  std::vector<std::uint64_t> sums(kParts);
  for (auto _ : state) {
    parallel_for(kParts, [&](std::size_t p) {
      std::uint64_t sum = 0;
      for (std::size_t i = kPart * p; i < kPart * (p + 1); ++i) sum += words[i];
      sums[p] = sum;
    });
    benchmark::DoNotOptimize(sums.data());
  }
  set_rate(state, kMemory);
}

// range(0): threads, range(1): vectors. One iteration multiplies all matrices that fit in the memory.
// Packed matrices are read instead of the file's type, and their bytes counted.
void product(benchmark::State& state, TensorType type, ActivationPrecision precision, bool packed) {
  set_threads(static_cast<int>(state.range(0)));
  const auto batch = static_cast<std::size_t>(state.range(1));
  MatrixView matrix{type, kRows, kColumns, reinterpret_cast<const std::byte*>(memory().data())};
  const std::size_t bytes = kRows * matrix.row_stride();
  const std::size_t count = kMemory / bytes;
  std::vector<AlignedBuffer<std::byte>> arranged;
  for (std::size_t i = 0; packed && i < count; ++i) {
    matrix.data = reinterpret_cast<const std::byte*>(memory().data()) + i * bytes;
    arranged.emplace_back(packed_bytes(type, kRows, kColumns));
    pack_matrix(matrix, arranged[i].data());
  }
  std::mt19937 random(2);
  std::normal_distribution<float> normal;
  std::vector<float> x(batch * kColumns);
  for (float& e : x) e = normal(random);
  std::vector<float> y(batch * kRows);
  for (auto _ : state) {
    for (std::size_t i = 0; i < count; ++i) {
      matrix.data = reinterpret_cast<const std::byte*>(memory().data()) + i * bytes;
      if (packed) matrix.packed = arranged[i].data();
      matvec(matrix, x.data(), batch, y.data(), precision);
    }
    benchmark::DoNotOptimize(y.data());
  }
  set_rate(state, static_cast<double>(count * (packed ? arranged[0].bytes() : bytes)));
}

void add_all() {
  benchmark::RegisterBenchmark("read_memory", read_memory)
      ->ArgName("threads")
      ->Arg(1)
      ->Arg(2)
      ->Unit(benchmark::kMillisecond)
      ->UseRealTime();
  struct Way {
    const char* name;
    ActivationPrecision precision;
    bool packed;
  };
  for (const Way& way :
       {Way{"packed", ActivationPrecision::Int8, true}, Way{"int8", ActivationPrecision::Int8, false},
        Way{"f32", ActivationPrecision::F32, false}}) {
    for (int t = 0; t < static_cast<int>(kTensorTypeCount); ++t) {
      const auto type = static_cast<TensorType>(t);
      if (way.precision == ActivationPrecision::Int8 && traits(type).block_elements == 1) continue;
      if (way.packed && !cpu_multiplies_int8()) continue;
      benchmark::RegisterBenchmark(
          fmt::format("{}/{}", traits(type).name, way.name).c_str(),
          [=](benchmark::State& state) { product(state, type, way.precision, way.packed); })
          ->ArgNames({"threads", "batch"})
          ->ArgsProduct({{1, 2}, {1, 4, 8}})
          ->Unit(benchmark::kMillisecond)
          ->UseRealTime();
    }
  }
}

const bool added = (add_all(), true);

}  // namespace
}  // namespace thinkey
