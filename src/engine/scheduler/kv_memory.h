// The memory of all caches of a server: a bound, what is allocated, and what is promised.
//
// Every sequence has an account: all its element storage is counted there and in the total. Before a sequence
// starts it reserves the most that it can come to allocate; since promises are only made within the bound,
// and kept, the bound is never passed. Used by one thread; the numbers may be read by any.
#pragma once

#include <algorithm>
#include <cstddef>
#include <deque>

#include "base/aligned_buffer.h"

namespace thinkey {

class KvMemory {
 public:
  struct Account {
    explicit Account(AllocationCounter* total) : counter(total) {}
    AllocationCounter counter;
    std::size_t reserved = 0;  // allocations that are promised, those already made included
    bool open = false;
  };

  explicit KvMemory(std::size_t bound) : bound_(bound) {}
  KvMemory(const KvMemory&) = delete;
  KvMemory& operator=(const KvMemory&) = delete;

  // Blocks may outlive their sequence where others share them, and refer to its counter as long: an account
  // is used again when nothing is counted in it.
  [[nodiscard]] Account& open() {
    for (Account& account : accounts_) {
      if (account.open || account.counter.live() > 0) continue;
      account.open = true;
      return account;
    }
    Account& fresh = accounts_.emplace_back(&total_);
    fresh.open = true;
    return fresh;
  }
  static void close(Account& account) {
    account.open = false;
    account.reserved = 0;
  }

  // Allocated or promised.
  [[nodiscard]] std::size_t committed() const {
    std::size_t sum = total_.live();
    for (const Account& account : accounts_) {
      sum += account.reserved - std::min(account.reserved, account.counter.live());
    }
    return sum;
  }
  [[nodiscard]] bool has_room(std::size_t bytes) const {
    const std::size_t taken = committed();
    return taken <= bound_ && bytes <= bound_ - taken;
  }
  [[nodiscard]] std::size_t bound() const noexcept { return bound_; }
  [[nodiscard]] std::size_t used() const noexcept { return total_.live(); }
  [[nodiscard]] std::size_t peak() const noexcept { return total_.peak(); }

 private:
  std::size_t bound_;
  AllocationCounter total_;
  std::deque<Account> accounts_;
};

}  // namespace thinkey
