#include "base/parallel.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <thread>
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

// Tasks that last, so that other threads take part: it is their coming and going that ThreadSanitizer looks
// at.
TEST_P(Parallel, ThreadsSeeWhatTheOthersWrote) {
  for (int region = 0; region < 20; ++region) {
    const int written = region;
    std::vector<int> seen(32, -1);
    parallel_for(seen.size(), [&](std::size_t i) {
      std::this_thread::sleep_for(std::chrono::microseconds(200));
      seen[i] = written;
    });
    ASSERT_EQ(seen, std::vector<int>(seen.size(), region));
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

// Regions follow each other at all distances: some find the others awake, some asleep.
TEST_P(Parallel, ManyRegionsOneAfterTheOther) {
  for (int region = 0; region < 3000; ++region) {
    std::atomic<std::size_t> sum{0};
    parallel_for(17, [&](std::size_t i) { sum += i; });
    ASSERT_EQ(sum, 136U);
    if (region % 500 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

TEST_P(Parallel, RegionsOfSeveralThreads) {
  std::vector<std::thread> callers;
  std::atomic<std::size_t> total{0};
  for (int caller = 0; caller < 4; ++caller) {
    callers.emplace_back([&] {
      for (int region = 0; region < 300; ++region) {
        std::vector<std::atomic<int>> visits(9);
        parallel_for(visits.size(), [&](std::size_t i) { ++visits[i]; });
        for (const auto& count : visits) total += static_cast<std::size_t>(count.load());
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(total, 4U * 300U * 9U);
}

// More threads may be asked for, or fewer, between two regions.
TEST(ParallelLimits, ThreadsComeAndGo) {
  const int before = threads();
  for (const int count : {2, 7, 3, 1, 4}) {
    set_threads(count);
    std::atomic<int> most{0};
    parallel_for(400, [&](std::size_t) {
      int seen = most;
      while (seen < thread_index() && !most.compare_exchange_weak(seen, thread_index())) {
      }
    });
    EXPECT_LT(most, count);
  }
  set_threads(before);
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
