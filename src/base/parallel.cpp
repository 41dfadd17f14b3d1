#include "base/parallel.h"

#include <omp.h>
#include <sched.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <exception>
#include <mutex>

namespace thinkey {
namespace {

// Neighbouring tasks, mostly one thread's.
struct alignas(64) Range {
  std::atomic<std::size_t> next;
  std::size_t end;
};
constexpr std::size_t kMostRanges = 64;

}  // namespace

void set_threads(int n) { omp_set_num_threads(std::max(1, n)); }

int threads() noexcept { return omp_get_max_threads(); }

int available_cores() noexcept {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) != 0) return 1;
  return std::max(1, CPU_COUNT(&set));
}

int thread_index() noexcept { return omp_get_thread_num(); }

void detail::parallel_for_impl(std::size_t n, const void* context, void (*body)(const void*, std::size_t)) {
  if (n == 0) return;
  if (n == 1 || omp_in_parallel() != 0 || omp_get_max_threads() == 1) {
    for (std::size_t i = 0; i < n; ++i) body(context, i);
    return;
  }
  std::exception_ptr failure;
  std::mutex failure_mutex;
  // Every thread goes through a range of its own, so that it reads neighbouring memory in order, and then
  // takes what is left of the others'.
  std::array<Range, kMostRanges> ranges;
  const std::size_t count =
      std::min<std::size_t>(kMostRanges, static_cast<std::size_t>(omp_get_max_threads()));
  for (std::size_t r = 0; r < count; ++r) {
    ranges[r].next = n * r / count;
    ranges[r].end = n * (r + 1) / count;
  }
  const auto run = [&](std::size_t i) {
    try {
      body(context, i);
    } catch (...) {
      const std::scoped_lock lock(failure_mutex);
      if (!failure) failure = std::current_exception();
    }
  };
#pragma omp parallel
  for (std::size_t k = 0; k < count; ++k) {
    Range& range = ranges[(static_cast<std::size_t>(omp_get_thread_num()) + k) % count];
    for (;;) {
      const std::size_t i = range.next.fetch_add(1, std::memory_order_relaxed);
      if (i >= range.end) break;
      run(i);
    }
  }
  if (failure) std::rethrow_exception(failure);
}

}  // namespace thinkey
