#include "backend/cpu/ops/dequantize.h"

#include <gtest/gtest.h>

#include <bit>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "backend/cpu/ops/each_highway_target.h"
#include "backend/cpu/ops/quant_fixture.h"
#include "base/parallel.h"

namespace thinkey {
namespace {

using test::load_quant_fixture;
using test::QuantFixture;

class Dequantize : public testing::TestWithParam<TensorType> {};

INSTANTIATE_TEST_SUITE_P(EveryType, Dequantize, testing::ValuesIn(test::all_types()),
                         [](const auto& type) { return std::string(traits(type.param).name); });

std::uint32_t bits(float x) { return std::bit_cast<std::uint32_t>(x); }

TEST_P(Dequantize, RowEqualsTheReferenceBitForBit) {
  const QuantFixture f = load_quant_fixture(GetParam());
  for_each_highway_target([&] {
    std::vector<float> out(f.cols);
    for (std::size_t r = 0; r < f.rows; ++r) {
      widen_row(f.type, f.view().row(static_cast<std::size_t>(r)), f.cols, out.data());
      for (std::size_t c = 0; c < f.cols; ++c) {
        ASSERT_EQ(bits(out[c]), bits(f.expected[r * f.cols + c]))
            << "row " << r << " column " << c << ": " << out[c] << " and " << f.expected[r * f.cols + c];
      }
    }
  });
}

TEST_P(Dequantize, BF16IsTheRoundedReference) {
  const QuantFixture f = load_quant_fixture(GetParam());
  for_each_highway_target([&] {
    std::vector<bf16_bits> out(f.rows * f.cols);
    widen(f.view(), out.data());
    for (std::size_t i = 0; i < out.size(); ++i) ASSERT_EQ(out[i], bf16_from_f32(f.expected[i])) << i;
  });
}

// One block at the very end of an exactly sized, oddly aligned allocation.
TEST_P(Dequantize, ReadsAndWritesNothingPastTheEnd) {
  const QuantFixture f = load_quant_fixture(GetParam());
  const std::size_t elements = traits(f.type).block_elements;
  const std::size_t bytes = traits(f.type).block_bytes;
  for_each_highway_target([&] {
    const auto storage = std::make_unique<std::byte[]>(bytes + 1);
    std::memcpy(storage.get() + 1, f.packed.data(), bytes);
    const auto wide = std::make_unique<float[]>(elements);
    const auto narrow = std::make_unique<bf16_bits[]>(elements);
    widen_row(f.type, storage.get() + 1, elements, wide.get());
    widen_row(f.type, storage.get() + 1, elements, narrow.get());
    for (std::size_t i = 0; i < elements; ++i) {
      ASSERT_EQ(bits(wide[i]), bits(f.expected[i]));
      ASSERT_EQ(narrow[i], bf16_from_f32(f.expected[i]));
    }
  });
}

TEST_P(Dequantize, WholeMatrixInParallel) {
  const QuantFixture f = load_quant_fixture(GetParam());
  constexpr std::size_t kCopies = 60;  // more than one task
  std::vector<std::byte> packed;
  for (std::size_t i = 0; i < kCopies; ++i) packed.insert(packed.end(), f.packed.begin(), f.packed.end());
  const MatrixView matrix{f.type, static_cast<std::size_t>(f.rows * kCopies),
                          static_cast<std::size_t>(f.cols), packed.data()};
  const int before = threads();
  set_threads(3);
  std::vector<float> out(f.rows * kCopies * f.cols, -1.0F);
  widen(matrix, out.data());
  set_threads(before);
  for (std::size_t i = 0; i < out.size(); ++i) {
    ASSERT_EQ(bits(out[i]), bits(f.expected[i % f.expected.size()])) << i;
  }
}

TEST(DequantizePlain, OddLengths) {
  const QuantFixture f32 = load_quant_fixture(TensorType::F32);
  const QuantFixture f16 = load_quant_fixture(TensorType::F16);
  const QuantFixture bf16 = load_quant_fixture(TensorType::BF16);
  for_each_highway_target([&] {
    for (std::size_t n = 0; n <= 70; ++n) {
      for (const QuantFixture* f : {&f32, &f16, &bf16}) {
        const std::size_t bytes = row_bytes(f->type, n);
        const auto row = std::make_unique<std::byte[]>(bytes);
        std::memcpy(row.get(), f->packed.data(), bytes);
        const auto out = std::make_unique<float[]>(n);
        widen_row(f->type, row.get(), n, out.get());
        for (std::size_t i = 0; i < n; ++i) ASSERT_EQ(bits(out[i]), bits(f->expected[i]));
      }
    }
  });
}

}  // namespace
}  // namespace thinkey
