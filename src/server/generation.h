// A request to the scheduler as a handler sees it: fields in, events out.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "engine/scheduler/scheduler.h"
#include "server/request_fields.h"
#include "server/service.h"

namespace thinkey::server {

// The fields that all kinds of generation have: sampling, stop, seed, cache, cache_prompt, ...; not the
// prompt. ApiError for what is wrong. `n`: with choices; `stops`: with stop strings.
void read_generation_fields(RequestFields& fields, const Service& service, GenerationRequest& out);
// "stream" and "stream_options".
struct StreamOptions {
  bool stream = false, include_usage = false;
};
[[nodiscard]] StreamOptions read_stream_options(RequestFields& fields);
// 404 unless "model" is absent or one of ours.
void check_model(RequestFields& fields, const Service& service);

// Under way from construction; cancelled by destruction. ApiError 400 or 429 if it cannot be.
class Generation {
 public:
  Generation(Service& service, GenerationRequest request);
  ~Generation();
  Generation(const Generation&) = delete;
  Generation& operator=(const Generation&) = delete;

  // The next event; Disconnected as soon as the calling thread's connection is gone, ApiError for
  // RequestFailed.
  [[nodiscard]] GenerationEvent next();
  [[nodiscard]] bool finished() const noexcept { return finished_; }

 private:
  struct Channel {
    std::mutex mutex;
    std::condition_variable changed;
    std::deque<GenerationEvent> events;
  };

  Service& service_;
  std::shared_ptr<Channel> channel_ = std::make_shared<Channel>();
  Scheduler::Ticket ticket_;
  bool finished_ = false;
  std::chrono::steady_clock::time_point look_at_{};  // when to see again whether the client is there
};

// What a client is told of tokens and memory at the end.
struct Usage {
  std::size_t prompt = 0, cached = 0, generated = 0;
  std::optional<CacheReport> cache;
  [[nodiscard]] OrderedJson json() const;
};

// Layer by layer, for the page: spec, bytes, full_bytes, layers.
[[nodiscard]] OrderedJson cache_json(const CacheReport& report);

// An id such as "chatcmpl-...", random.
[[nodiscard]] std::string new_id(const std::string& prefix);
[[nodiscard]] std::int64_t now_seconds();
// A float as people write it: 0.95, not the double next to it.
[[nodiscard]] double as_written(float value);

}  // namespace thinkey::server
