#include "base/aligned_buffer.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <new>
#include <utility>

namespace thinkey {
namespace {

TEST(AlignedBuffer, IsAlignedAndWritable) {
  for (const std::size_t size : {1U, 3U, 64U, 1000U}) {
    AlignedBuffer<std::uint16_t> buffer(size);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffer.data()) % kAlignment, 0U);
    EXPECT_EQ(buffer.size(), size);
    EXPECT_EQ(buffer.bytes(), 2 * size);
    buffer.fill(7);
    EXPECT_EQ(buffer[size - 1], 7);
    EXPECT_EQ(buffer.span().size(), size);
  }
}

TEST(AlignedBuffer, CounterKnowsLiveAndPeak) {
  AllocationCounter counter;
  {
    const AlignedBuffer<float> first(100, &counter);
    EXPECT_EQ(counter.live(), 400U);
    {
      const AlignedBuffer<float> second(50, &counter);
      EXPECT_EQ(counter.live(), 600U);
    }
    EXPECT_EQ(counter.live(), 400U);
  }
  EXPECT_EQ(counter.live(), 0U);
  EXPECT_EQ(counter.peak(), 600U);
}

TEST(AlignedBuffer, MovingCountsOnce) {
  AllocationCounter counter;
  AlignedBuffer<float> a(10, &counter);
  const float* data = a.data();
  AlignedBuffer<float> b(std::move(a));
  EXPECT_EQ(b.data(), data);
  EXPECT_EQ(counter.live(), 40U);
  AlignedBuffer<float> c(20, &counter);
  c = std::move(b);  // frees the 20
  EXPECT_EQ(c.data(), data);
  EXPECT_EQ(c.size(), 10U);
  EXPECT_EQ(counter.live(), 40U);
  c = AlignedBuffer<float>();
  EXPECT_EQ(counter.live(), 0U);
  EXPECT_EQ(c.data(), nullptr);
}

TEST(AlignedBuffer, EmptyAllocatesNothing) {
  AllocationCounter counter;
  const AlignedBuffer<double> buffer(0, &counter);
  EXPECT_EQ(buffer.data(), nullptr);
  EXPECT_EQ(counter.peak(), 0U);
}

TEST(AlignedBuffer, SizesThatOverflowAreRefused) {
  AllocationCounter counter;
  EXPECT_THROW(AlignedBuffer<float>(SIZE_MAX / 4, &counter), std::bad_alloc);
  EXPECT_THROW(AlignedBuffer<float>(SIZE_MAX / 2, &counter), std::bad_alloc);
  EXPECT_EQ(counter.live(), 0U);
}

}  // namespace
}  // namespace thinkey
