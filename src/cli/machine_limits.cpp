#include "cli/machine_limits.h"

#include <omp.h>
#include <oneapi/dnnl/dnnl_version.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <oneapi/dnnl/dnnl.hpp>
#include <vector>

#include "backend/cpu/ops/convert.h"
#include "base/aligned_buffer.h"
#include "base/parallel.h"

namespace thinkey::cli {

namespace {

constexpr int kRuns = 8;

using Clock = std::chrono::steady_clock;

template <typename Body>
double seconds_of(const Body& body) {
  const auto start = Clock::now();
  body();
  return std::chrono::duration<double>(Clock::now() - start).count();
}

template <typename Body>
double best_seconds(const Body& body) {
  double best = seconds_of(body);
  for (int run = 1; run < kRuns; ++run) best = std::min(best, seconds_of(body));
  return best;
}

double read_rate() {
  MemoryReader reader;
  double best = reader.read();
  for (int run = 1; run < kRuns; ++run) best = std::min(best, reader.read());
  return static_cast<double>(reader.bytes()) / best;
}

// A chunk of prompt tokens by a layer of a model of some billion parameters.
constexpr std::size_t kTokens = 512;
constexpr std::size_t kIn = 2048;
constexpr std::size_t kOut = 4096;
constexpr double kOperations = 2.0 * static_cast<double>(kTokens * kIn * kOut);

double product_rate(Precision precision) {
  const MatmulShape shape{.m = kTokens, .n = kOut, .k = kIn, .lda = kIn, .ldb = kIn, .ldc = kOut};
  AlignedBuffer<float> a(kTokens * kIn);
  AlignedBuffer<float> b(kOut * kIn);
  AlignedBuffer<float> c(kTokens * kOut);
  a.fill(0.5F);
  b.fill(0.25F);
  AlignedBuffer<bf16_bits> half_a(a.size());
  AlignedBuffer<bf16_bits> half_b(b.size());
  f32_to_bf16(a.data(), a.size(), half_a.data());
  f32_to_bf16(b.data(), b.size(), half_b.data());
  const double seconds = best_seconds([&] {
    if (precision == Precision::BF16) {
      matmul(shape, half_a.data(), half_b.data(), c.data());
    } else {
      matmul(shape, a.data(), b.data(), c.data());
    }
  });
  return kOperations / seconds;
}

// Unsigned times signed bytes, as CPUs multiply them; the engine itself has no such product of whole
// matrices.
double int8_product_rate() {
  using dnnl::memory;
  omp_set_num_threads(threads());
  const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  const memory::desc a({kTokens, kIn}, memory::data_type::u8, memory::format_tag::ab);
  const memory::desc b({kIn, kOut}, memory::data_type::s8, memory::format_tag::any);
  const memory::desc c({kTokens, kOut}, memory::data_type::s32, memory::format_tag::ab);
#if DNNL_VERSION_MAJOR >= 3
  const dnnl::matmul::primitive_desc description(engine, a, b, c);
#else
  const dnnl::matmul::primitive_desc description(dnnl::matmul::desc(a, b, c), engine);
#endif
  const dnnl::matmul product(description);
  memory inputs(description.src_desc(), engine);
  memory weights(description.weights_desc(), engine);
  memory outputs(description.dst_desc(), engine);
  for (memory* operand : {&inputs, &weights}) {
    std::memset(operand->get_data_handle(), 1, operand->get_desc().get_size());
  }
  dnnl::stream stream(engine);
  const double seconds = best_seconds([&] {
    product.execute(stream, {{DNNL_ARG_SRC, inputs}, {DNNL_ARG_WEIGHTS, weights}, {DNNL_ARG_DST, outputs}});
    stream.wait();
  });
  return kOperations / seconds;
}

constexpr std::size_t kWords = std::size_t{1} << 25U;  // 256 MiB
constexpr std::size_t kParts = 64;

}  // namespace

MemoryReader::MemoryReader() : memory_(kWords), sums_(kParts) { memory_.fill(1); }

double MemoryReader::read() {
  return seconds_of([&] {
    parallel_for(kParts, [&](std::size_t part) {
      const std::uint64_t* words = memory_.data() + kWords / kParts * part;
      std::array<std::uint64_t, 16> sum{};  // independent, so that loads need not wait for sums
      for (std::size_t i = 0; i < kWords / kParts; i += sum.size()) {
        for (std::size_t j = 0; j < sum.size(); ++j) sum[j] += words[i + j];
      }
      for (const std::uint64_t s : sum) sums_[part] += s;
    });
  });
}

MachineLimits measure_limits(Precision precision, bool int8_weights) {
  MachineLimits limits{.read_bytes_per_second = read_rate(), .products_per_second = product_rate(precision)};
  limits.weight_products_per_second = int8_weights ? int8_product_rate() : limits.products_per_second;
  return limits;
}

}  // namespace thinkey::cli
