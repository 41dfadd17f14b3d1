#include "base/parallel.h"

#include <omp.h>
#include <sched.h>

#include <algorithm>
#include <exception>
#include <mutex>

namespace thinkey {

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
#pragma omp parallel for schedule(dynamic, 1)
  for (std::size_t i = 0; i < n; ++i) {
    try {
      body(context, i);
    } catch (...) {
      const std::scoped_lock lock(failure_mutex);
      if (!failure) failure = std::current_exception();
    }
  }
  if (failure) std::rethrow_exception(failure);
}

}  // namespace thinkey
