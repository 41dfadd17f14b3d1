#include "base/parallel.h"

#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>
#include <vector>

namespace thinkey {
namespace {

class Parallel : public testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    before_ = threads();
    set_threads(GetParam());
  }
  void TearDown() override { set_threads(before_); }

 private:
  int before_ = 1;
};

INSTANTIATE_TEST_SUITE_P(Threads, Parallel, testing::Values(1, 2, 5));

TEST_P(Parallel, EveryIndexExactlyOnce) {
  for (const std::size_t n : {0U, 1U, 2U, 1000U}) {
    std::vector<std::atomic<int>> visits(n);
    parallel_for(n, [&](std::size_t i) { ++visits[i]; });
    for (const auto& count : visits) ASSERT_EQ(count, 1);
  }
}

TEST_P(Parallel, ThreadIndexIsInRange) {
  EXPECT_EQ(threads(), GetParam());
  EXPECT_EQ(thread_index(), 0);
  std::atomic<bool> in_range{true};
  parallel_for(200, [&](std::size_t) {
    if (thread_index() < 0 || thread_index() >= GetParam()) in_range = false;
  });
  EXPECT_TRUE(in_range);
}

TEST_P(Parallel, AnExceptionArrivesAfterAllOthersFinished) {
  std::atomic<int> finished{0};
  const auto body = [&](std::size_t i) {
    if (i == 3) throw std::runtime_error("three");
    ++finished;
  };
  EXPECT_THROW(parallel_for(50, body), std::runtime_error);
  if (GetParam() > 1) {
    EXPECT_EQ(finished, 49);
  }
}

TEST_P(Parallel, NestedCallsRunOnTheSameThread) {
  std::atomic<int> total{0};
  std::atomic<bool> same{true};
  parallel_for(8, [&](std::size_t) {
    const int outer = thread_index();
    parallel_for(8, [&](std::size_t) {
      if (thread_index() != outer) same = false;
      ++total;
    });
  });
  EXPECT_EQ(total, 64);
  EXPECT_TRUE(same);
}

TEST(ParallelLimits, AtLeastOneThreadAndOneCore) {
  const int before = threads();
  set_threads(0);
  EXPECT_EQ(threads(), 1);
  set_threads(before);
  EXPECT_GE(available_cores(), 1);
}

}  // namespace
}  // namespace thinkey
