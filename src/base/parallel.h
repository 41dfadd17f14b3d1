// Fork-join over the machine's cores. One OpenMP pool serves the whole program and oneDNN alike.
#pragma once

#include <cstddef>

namespace thinkey {

// Threads used by parallel_for and by oneDNN from now on; n >= 1. Process-wide.
void set_threads(int n);
[[nodiscard]] int threads() noexcept;

// Cores this process may run on (affinity and container limits respected).
[[nodiscard]] int available_cores() noexcept;

// Index of the calling thread inside a parallel_for, 0 .. threads()-1; 0 outside.
[[nodiscard]] int thread_index() noexcept;

namespace detail {
// Calls body(context, i) for i in [0, n): every thread a range of them in order, then what others have left.
void parallel_for_impl(std::size_t n, const void* context, void (*body)(const void*, std::size_t));
}  // namespace detail

// body(i) for every i in [0, n), each exactly once, order unspecified. An exception is rethrown
// on the calling thread after all others have finished. Nested calls run serially.
template <typename Body>
void parallel_for(std::size_t n, const Body& body) {
  detail::parallel_for_impl(
      n, &body, [](const void* context, std::size_t i) { (*static_cast<const Body*>(context))(i); });
}

}  // namespace thinkey
