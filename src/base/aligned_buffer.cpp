#include "base/aligned_buffer.h"

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace thinkey::detail {
namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20U;

std::align_val_t alignment(std::size_t bytes) noexcept {
  return std::align_val_t{bytes >= kHugePage ? kHugePage : kAlignment};
}

}  // namespace

std::atomic<bool (*)(std::size_t)> allocation_hook{nullptr};

void* allocate_aligned(std::size_t bytes) {
  if (const auto hook = allocation_hook.load(std::memory_order_relaxed); hook != nullptr && !hook(bytes)) {
    throw std::bad_alloc();
  }
  void* data = ::operator new(bytes, alignment(bytes));
#ifdef __linux__
  // Whole pages only, so that no more memory is taken than was asked for. Advice: it may go unheard.
  if (bytes >= kHugePage) madvise(data, bytes / kHugePage * kHugePage, MADV_HUGEPAGE);
#endif
  return data;
}

void release_aligned(void* data, std::size_t bytes) noexcept { ::operator delete(data, alignment(bytes)); }

}  // namespace thinkey::detail
