// Continuous batching: many conversations with one model.
//
// One thread computes. Each of its steps decodes a token of every running answer, reading the weights once
// for all, and advances the prefill of one further prompt by about as much time as the decoding took.
// Requests wait in a queue, in order, until the memory for all that they may come to hold can be promised to
// them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/scheduler/histogram.h"
#include "engine/scheduler/job.h"
#include "engine/scheduler/request.h"
#include "thinkey/model.h"

namespace thinkey {

struct SchedulerOptions {
  std::size_t context = 0;  // most tokens of prompt and answer; 0: the model's context length
  std::optional<std::size_t> max_tokens =
      {};                      // of an answer, where the request does not say; nullopt: what fits
  std::size_t kv_memory = 0;   // most bytes that all caches take
  std::size_t parallel = 16;   // most answers at once
  std::size_t queue = 64;      // most requests waiting
  std::size_t lookup = 0;      // most tokens drafted in a step, of all answers (thinkey/generate.h); 0: none
  bool compress_idle = false;  // short of memory, quantize kept conversations (kivi:4) before they go
  std::filesystem::path cache_directory = {};  // conversations that memory has no room for; empty: nowhere
  std::size_t cache_disk = 0;                  // most bytes there
  // Other servers use the directory too: conversations are written when an answer ends, not only when memory
  // is short, and files that others wrote since are found.
  bool cache_shared = false;
};

// Counted from the start.
struct SchedulerStatus {
  std::size_t running = 0, prefilling = 0, queued = 0, conversations = 0, conversations_on_disk = 0;
  std::size_t kv_bound = 0, kv_used = 0, kv_committed = 0, kv_peak = 0;
  std::size_t kv_running = 0;  // of kv_committed, what answers under way hold or are promised
  std::uint64_t requests = 0, completed = 0, cancelled = 0, failed = 0, refused = 0;
  std::uint64_t prompt_tokens = 0, cached_tokens = 0, generated_tokens = 0;
  std::uint64_t evicted = 0, saved = 0, restored = 0, compressed = 0;  // conversations
  std::uint64_t decode_steps = 0;
  std::uint64_t drafted_tokens = 0, accepted_tokens = 0;
  double prefill_seconds = 0, decode_seconds = 0;
  LatencyHistogram first_token, next_token, queue_wait;
};

struct ConversationInfo {
  std::uint64_t id = 0;
  std::string cache;  // spec
  std::size_t tokens = 0;
  std::size_t bytes = 0, full_bytes = 0;
  bool running = false;
};

class Scheduler {
 public:
  Scheduler(std::shared_ptr<const Model> model, const SchedulerOptions& options);
  // Cancels what is running.
  ~Scheduler();
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  using Ticket = std::shared_ptr<GenerationJob>;
  // The listener is called by the scheduler's thread and must not wait for it; its last event is
  // RequestFailed, or an AnswerDone with `last`, unless the request is cancelled. Error(Usage) for a request
  // that can never be answered, naming the numbers; QueueFull.
  [[nodiscard]] Ticket submit(GenerationRequest request, GenerationListener listener);
  // The listener may still be called while this returns, but not once the next step has begun.
  void cancel(const Ticket& ticket);

  // Takes no further requests and returns when all are answered; those that are not after so many seconds
  // fail. What is kept has been saved then, if there is a directory for it.
  void drain(double seconds);

  [[nodiscard]] SchedulerStatus status() const;
  [[nodiscard]] std::size_t context() const noexcept;
  [[nodiscard]] const SchedulerOptions& options() const noexcept;

  // Kept conversations. Names are file names without a folder (Error(Usage)); files are in the cache
  // directory's slots/. Error(Usage) for what is not there.
  [[nodiscard]] std::vector<ConversationInfo> conversations();
  [[nodiscard]] ConversationInfo save(std::uint64_t id, const std::string& name);
  [[nodiscard]] ConversationInfo restore(const std::string& name);
  void erase(std::uint64_t id);

 private:
  class Loop;
  std::unique_ptr<Loop> loop_;
};

}  // namespace thinkey
