// A request on its way.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <utility>

#include "engine/scheduler/request.h"

namespace thinkey {

using GenerationListener = std::function<void(GenerationEvent)>;

struct GenerationJob {
  GenerationJob(GenerationRequest what, GenerationListener to)
      : request(std::move(what)), listener(std::move(to)), submitted(std::chrono::steady_clock::now()) {}

  GenerationRequest request;
  GenerationListener listener;
  std::chrono::steady_clock::time_point submitted;
  std::size_t max_tokens = 0;  // of each answer, what is not said having been decided
  std::atomic<bool> cancelled{false};
  // Of the scheduler's thread.
  std::chrono::steady_clock::time_point latest;  // token
  int unfinished = 0;                            // answers
};

}  // namespace thinkey
