// Fork-join over the machine's cores. One pool of threads serves the whole program; oneDNN's products are
// split among its threads, too (backend/cpu/ops/matmul.h).
#pragma once

#include <cstddef>

namespace thinkey {

inline constexpr int kMostThreads = 1024;

// Threads used by parallel_for from now on, 1 to kMostThreads; at first available_cores(). Process-wide.
void set_threads(int n);
[[nodiscard]] int threads() noexcept;

// Cores this process may use: those of its affinity, or its cgroup's quota of CPU time where that is less.
[[nodiscard]] int available_cores() noexcept;

// Index of the calling thread inside a parallel_for, 0 .. threads()-1; 0 outside.
[[nodiscard]] int thread_index() noexcept;

// Whether the calling thread is inside a parallel_for of more than one thread.
[[nodiscard]] bool in_parallel() noexcept;

namespace detail {
// Calls body(context, i) for i in [0, n): every thread a range of them in order, then what others have left.
void parallel_for_impl(std::size_t n, const void* context, void (*body)(const void*, std::size_t));
}  // namespace detail

// body(i) for every i in [0, n), each exactly once, order unspecified. An exception is rethrown
// on the calling thread after all others have finished. Nested calls run serially, and so do those of a
// thread while another's are under way.
template <typename Body>
void parallel_for(std::size_t n, const Body& body) {
  detail::parallel_for_impl(
      n, &body, [](const void* context, std::size_t i) { (*static_cast<const Body*>(context))(i); });
}

}  // namespace thinkey
