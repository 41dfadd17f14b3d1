// Cache-line aligned arrays whose bytes are counted: what the cache report states is what was
// allocated here.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <new>
#include <span>
#include <type_traits>
#include <utility>

namespace thinkey {

// Live bytes of the buffers that were given this counter. What a counter counts its parent counts, too.
class AllocationCounter {
 public:
  AllocationCounter() = default;
  explicit AllocationCounter(AllocationCounter* parent) noexcept : parent_(parent) {}

  void add(std::size_t bytes) noexcept {
    if (parent_ != nullptr) parent_->add(bytes);
    const std::size_t now = live_.fetch_add(bytes) + bytes;
    std::size_t seen = peak_.load();
    while (seen < now && !peak_.compare_exchange_weak(seen, now)) {
    }
  }
  void remove(std::size_t bytes) noexcept {
    live_.fetch_sub(bytes);
    if (parent_ != nullptr) parent_->remove(bytes);
  }
  [[nodiscard]] std::size_t live() const noexcept { return live_.load(); }
  [[nodiscard]] std::size_t peak() const noexcept { return peak_.load(); }

 private:
  AllocationCounter* parent_ = nullptr;
  std::atomic<std::size_t> live_{0};
  std::atomic<std::size_t> peak_{0};
};

inline constexpr std::size_t kAlignment = 64;  // a cache line, and the widest vector

namespace detail {
// For tests of what happens without memory: asked before every allocation, which fails when it says no.
extern std::atomic<bool (*)(std::size_t bytes)> allocation_hook;

// Aligned to kAlignment; from 2 MiB on to huge pages, which the system is asked for: without them reading
// weights or a cache from memory waits for address translation. std::bad_alloc when there is no memory.
[[nodiscard]] void* allocate_aligned(std::size_t bytes);
void release_aligned(void* data, std::size_t bytes) noexcept;
}  // namespace detail

// Uninitialised storage for `size` elements of a trivial type.
template <typename T>
class AlignedBuffer {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  AlignedBuffer() = default;
  explicit AlignedBuffer(std::size_t size, AllocationCounter* counter = nullptr)
      : size_(size), counter_(counter) {
    if (size == 0) return;
    if (size > (SIZE_MAX / 2) / sizeof(T)) throw std::bad_alloc();
    data_ = static_cast<T*>(detail::allocate_aligned(size * sizeof(T)));
    if (counter_ != nullptr) counter_->add(bytes());
  }
  ~AlignedBuffer() { release(); }
  AlignedBuffer(AlignedBuffer&& other) noexcept { swap(other); }
  AlignedBuffer& operator=(AlignedBuffer&& other) noexcept {
    AlignedBuffer taken(std::move(other));
    swap(taken);
    return *this;
  }
  AlignedBuffer(const AlignedBuffer&) = delete;
  AlignedBuffer& operator=(const AlignedBuffer&) = delete;

  [[nodiscard]] T* data() noexcept { return data_; }
  [[nodiscard]] const T* data() const noexcept { return data_; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] std::size_t bytes() const noexcept { return size_ * sizeof(T); }
  T& operator[](std::size_t i) noexcept { return data_[i]; }
  const T& operator[](std::size_t i) const noexcept { return data_[i]; }
  [[nodiscard]] std::span<T> span() noexcept { return {data_, size_}; }
  [[nodiscard]] std::span<const T> span() const noexcept { return {data_, size_}; }
  void fill(T value) { std::fill_n(data_, size_, value); }

 private:
  void swap(AlignedBuffer& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(counter_, other.counter_);
  }
  void release() noexcept {
    if (data_ == nullptr) return;
    if (counter_ != nullptr) counter_->remove(bytes());
    detail::release_aligned(data_, bytes());
    data_ = nullptr;
  }

  T* data_ = nullptr;
  std::size_t size_ = 0;
  AllocationCounter* counter_ = nullptr;
};

}  // namespace thinkey
