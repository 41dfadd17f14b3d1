// A pool of threads of our own. A parallel region waits only for threads that have begun to work in it, never
// for one that the system has not let run yet: beside busy processes that is most of the time lost in
// barriers.
#include "base/parallel.h"

#include <sched.h>
#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>

#include "base/cgroup.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace thinkey {
namespace {

using Clock = std::chrono::steady_clock;

// Neighbouring tasks, mostly one thread's.
struct alignas(64) Range {
  std::atomic<std::size_t> next;
  std::size_t end;
};
constexpr std::size_t kMostRanges = 64;

thread_local bool in_region = false;
thread_local int index_here = 0;

void pause_briefly() noexcept {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Waiting awake answers at once, and takes time from whoever else could run: long where nobody wants the
// core, hardly at all for a while after this thread had to leave it to another.
class Patience {
 public:
  // Waits awake until done() or patience ends; returns done().
  template <typename Done>
  bool wait(const Done& done) {
    const Clock::time_point start = Clock::now();
    look(start);
    const auto limit = start < crowded_until_ ? kCrowded : kAlone;
    Clock::time_point before = start;
    for (;;) {
      for (int i = 0; i < 16; ++i) {
        if (done()) return true;
        pause_briefly();
      }
      const Clock::time_point now = Clock::now();
      if (now - before > kGap) crowded_until_ = now + kMemory;  // another had the core meanwhile
      if (now - start > limit) return done();
      before = now;
    }
  }

 private:
  static constexpr std::chrono::microseconds kAlone{2000}, kCrowded{5}, kGap{300}, kBetweenLooks{500};
  static constexpr std::chrono::milliseconds kMemory{50};

  void look(Clock::time_point now) {
    if (now - looked_ < kBetweenLooks) return;
    looked_ = now;
    rusage usage{};
    if (getrusage(RUSAGE_THREAD, &usage) != 0) return;
    if (usage.ru_nivcsw != switches_) crowded_until_ = now + kMemory;
    switches_ = usage.ru_nivcsw;
  }

  Clock::time_point looked_, crowded_until_;
  long switches_ = 0;
};

class Pool {
 public:
  // Never destroyed: its threads sleep until the process ends.
  static Pool& instance() {
    static auto* pool = new Pool;
    return *pool;
  }

  // False when another thread's region has the pool: run the tasks here.
  bool run(std::size_t n, const void* context, void (*body)(const void*, std::size_t), int threads) {
    const std::unique_lock lock(caller_, std::try_to_lock);
    if (!lock.owns_lock()) return false;
    while (workers_ < threads - 1) add_worker();
    n_ranges_ = std::min<std::size_t>(kMostRanges, static_cast<std::size_t>(threads));
    for (std::size_t r = 0; r < n_ranges_; ++r) {
      ranges_[r].next.store(n * r / n_ranges_, std::memory_order_relaxed);
      ranges_[r].end = n * (r + 1) / n_ranges_;
    }
    context_ = context;
    body_ = body;
    failure_ = nullptr;
    most_index_.store(threads - 1, std::memory_order_relaxed);
    epoch_ += kEpoch;
    gate_.store(epoch_ | kOpen, std::memory_order_release);
    gate_.notify_all();
    work(0);
    // Nobody enters from here on, and who is inside has a task in hand.
    std::uint32_t gate = gate_.fetch_and(~kOpen, std::memory_order_acq_rel) & ~kOpen;
    const auto all_left = [&] {
      gate = gate_.load(std::memory_order_acquire);
      return (gate & kInside) == 0;
    };
    thread_local Patience patience;
    if ((gate & kInside) != 0 && !patience.wait(all_left)) {
      while (!all_left()) gate_.wait(gate, std::memory_order_acquire);
    }
    if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
    return true;
  }

 private:
  // gate_: a region's number, whether it is open, and how many workers are inside.
  static constexpr std::uint32_t kInside = 0xFFF, kOpen = 0x1000, kEpoch = 0x2000;

  void add_worker() {
    // Signals are for the program's own threads.
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    // What an instruction causes must reach its handler: blocked, it ends the process without a word.
    for (const int fault : {SIGBUS, SIGSEGV, SIGFPE, SIGILL}) sigdelset(&all, fault);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    try {
      std::thread([this, index = workers_ + 1] { serve(index); }).detach();
    } catch (...) {
      pthread_sigmask(SIG_SETMASK, &before, nullptr);
      throw;
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    ++workers_;
  }

  [[noreturn]] void serve(int index) {
    index_here = index;
    in_region = true;
    Patience patience;
    std::uint32_t last = 0;  // the latest region this thread has been in
    for (;;) {
      std::uint32_t gate = gate_.load(std::memory_order_acquire);
      const auto wanted = [&] {
        gate = gate_.load(std::memory_order_acquire);
        return (gate & kOpen) != 0 && (gate & ~(kOpen | kInside)) != last &&
               index <= most_index_.load(std::memory_order_relaxed);
      };
      if (!wanted() && !patience.wait(wanted)) {
        gate_.wait(gate, std::memory_order_acquire);
        continue;
      }
      if (!gate_.compare_exchange_weak(gate, gate + 1, std::memory_order_acq_rel)) continue;
      last = gate & ~(kOpen | kInside);
      work(index);
      gate = gate_.fetch_sub(1, std::memory_order_acq_rel);
      if ((gate & kOpen) == 0 && (gate & kInside) == 1) gate_.notify_all();
    }
  }

  // Goes through a range of its own, so that it reads neighbouring memory in order, and then takes what is
  // left of the others'.
  void work(int index) {
    const bool outer = std::exchange(in_region, true);
    for (std::size_t k = 0; k < n_ranges_; ++k) {
      Range& range = ranges_[(static_cast<std::size_t>(index) + k) % n_ranges_];
      for (;;) {
        const std::size_t i = range.next.fetch_add(1, std::memory_order_relaxed);
        if (i >= range.end) break;
        try {
          body_(context_, i);
        } catch (...) {
          const std::scoped_lock lock(failure_mutex_);
          if (!failure_) failure_ = std::current_exception();
        }
      }
    }
    in_region = outer;
  }

  std::mutex caller_;
  int workers_ = 0;
  alignas(64) std::atomic<std::uint32_t> gate_{0};
  std::atomic<int> most_index_{0};  // of workers that take part
  std::uint32_t epoch_ = 0;
  // The region under way.
  std::array<Range, kMostRanges> ranges_;
  std::size_t n_ranges_ = 0;
  const void* context_ = nullptr;
  void (*body_)(const void*, std::size_t) = nullptr;
  std::mutex failure_mutex_;
  std::exception_ptr failure_;
};

std::atomic<int>& thread_count() noexcept {
  static std::atomic<int> count{available_cores()};
  return count;
}

}  // namespace

void set_threads(int n) { thread_count() = std::clamp(n, 1, kMostThreads); }

int threads() noexcept { return thread_count(); }

int available_cores() noexcept {
  cpu_set_t set;
  CPU_ZERO(&set);
  int cores = sched_getaffinity(0, sizeof(set), &set) == 0 ? std::max(1, CPU_COUNT(&set)) : 1;
  if (const int quota = cgroup_cores(); quota > 0) cores = std::min(cores, quota);
  return cores;
}

int thread_index() noexcept { return index_here; }

bool in_parallel() noexcept { return in_region; }

void detail::parallel_for_impl(std::size_t n, const void* context, void (*body)(const void*, std::size_t)) {
  if (n == 0) return;
  const int count = threads();
  if (n > 1 && count > 1 && !in_region && Pool::instance().run(n, context, body, count)) return;
  for (std::size_t i = 0; i < n; ++i) body(context, i);
}

}  // namespace thinkey
