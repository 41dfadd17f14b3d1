// Conversations that are not being answered, kept so that later requests go on from them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "cache/sequence_cache.h"
#include "engine/scheduler/kv_memory.h"

namespace thinkey {

// A cache with the tokens it has seen.
class Conversation {
 public:
  Conversation(KvMemory& memory, const CacheShape& shape, const CacheSpec& spec)
      : account_(&memory.open()), cache(shape, spec, &account_->counter), asked(spec) {}
  // What `of` was after its first `end` tokens.
  Conversation(KvMemory& memory, const Conversation& of, std::size_t end)
      : account_(&memory.open()),
        tokens(of.tokens.begin(), of.tokens.begin() + static_cast<std::ptrdiff_t>(end)),
        cache(of.cache.fork(static_cast<std::int64_t>(end), &account_->counter)),
        asked(of.asked) {}
  ~Conversation() { KvMemory::close(*account_); }
  Conversation(const Conversation&) = delete;
  Conversation& operator=(const Conversation&) = delete;

  void reserve(std::size_t bytes) { account_->reserved = bytes; }
  [[nodiscard]] std::size_t reserved() const noexcept { return account_->reserved; }
  [[nodiscard]] std::size_t allocated() const noexcept { return account_->counter.live(); }
  [[nodiscard]] AllocationCounter* counter() noexcept { return &account_->counter; }
  [[nodiscard]] const CacheSpec& spec() const noexcept { return cache.spec(); }
  // Whether what is kept of a prompt suits its last tokens, so that only its own end can be gone on from.
  [[nodiscard]] bool question_dependent() const {
    return asked.question_dependent() || spec().question_dependent();
  }

 private:
  KvMemory::Account* account_;

 public:
  std::vector<std::int32_t> tokens;
  SequenceCache cache;
  CacheSpec asked;       // the spec of requests that it serves; memory may have been short since
  std::uint64_t id = 0;  // among the kept ones
};

// Where a prompt can go on from.
struct Match {
  Conversation* conversation = nullptr;
  std::size_t tokens = 0;  // of the prompt, that it holds
  bool whole = false;      // all that it holds
};

class Conversations {
 public:
  // A prefix shorter than this is computed again, unless it is the whole conversation.
  static constexpr std::size_t kLeastPrefix = 64;

  // The kept conversation that saves most of the prompt; at least one token is left to compute.
  [[nodiscard]] Match find(const CacheSpec& spec, std::span<const std::int32_t> prompt) const;
  // As the latest used; conversations that it continues, and whose every use it can serve, go.
  void keep(std::unique_ptr<Conversation> conversation);
  [[nodiscard]] std::unique_ptr<Conversation> take(const Conversation* conversation);
  void touch(const Conversation* conversation);
  // The one that has not been used for longest, but not `except`; null when there is none.
  [[nodiscard]] std::unique_ptr<Conversation> take_oldest(const Conversation* except);
  // The one that has not been used for longest among those whose cache does nothing yet and is worth
  // quantizing; null when there is none.
  [[nodiscard]] Conversation* oldest_whole(const Conversation* except) const;
  [[nodiscard]] Conversation* by_id(std::uint64_t id) const;

  [[nodiscard]] std::size_t size() const noexcept { return kept_.size(); }
  [[nodiscard]] const std::list<std::unique_ptr<Conversation>>& all() const noexcept { return kept_; }

 private:
  std::list<std::unique_ptr<Conversation>> kept_;  // oldest first
  std::uint64_t next_id_ = 0;
};

// How many leading tokens two sequences share.
[[nodiscard]] std::size_t common_prefix(std::span<const std::int32_t> a,
                                        std::span<const std::int32_t> b) noexcept;

// Whether a conversation begins with these tokens of another of its spec and can serve all that that one
// could.
[[nodiscard]] bool continues(const Conversation& conversation, std::span<const std::int32_t> older);

// Where a prompt of these tokens can go on from a conversation of those: 0 tokens when nowhere.
[[nodiscard]] Match match_of(Conversation& conversation, std::span<const std::int32_t> prompt);

}  // namespace thinkey
