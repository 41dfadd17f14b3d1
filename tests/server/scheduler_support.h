// What tests of the scheduler share: small models, requests, and clients that wait for what comes of them.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "engine/scheduler/scheduler.h"
#include "thinkey/generate.h"
#include "thinkey/session.h"

namespace thinkey::test {

inline std::shared_ptr<const Model> tiny() {
  static const auto model =
      Model::load(THINKEY_FIXTURES "/model/llama2.gguf", {.threads = 2, .precision = PrefillPrecision::F32});
  return model;
}

// A context of 8192.
inline std::shared_ptr<const Model> needle() {
  static const auto model = Model::load(THINKEY_MODELS "/thinkey-needle.gguf", {.threads = 2});
  return model;
}

// One request and what came of it.
struct Client {
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<std::vector<std::int32_t>> tokens;
  std::vector<FinishReason> reasons;
  std::vector<TokenLogprobs> prompt_logprobs;
  std::size_t cached = 0;
  std::string failure;
  bool done = false;
  Scheduler::Ticket ticket;

  void start(Scheduler& scheduler, GenerationRequest request) {
    tokens.resize(static_cast<std::size_t>(request.choices));
    reasons.resize(tokens.size());
    ticket = scheduler.submit(std::move(request), [this](GenerationEvent event) {
      const std::scoped_lock lock(mutex);
      if (const auto* prefill = std::get_if<PrefillDone>(&event)) {
        cached = prefill->cached_tokens;
        prompt_logprobs = prefill->logprobs;
      }
      if (const auto* token = std::get_if<TokenSampled>(&event)) {
        tokens[static_cast<std::size_t>(token->choice)].push_back(token->token);
      }
      if (const auto* end = std::get_if<AnswerDone>(&event)) {
        reasons[static_cast<std::size_t>(end->choice)] = end->reason;
        done = end->last;
      }
      if (const auto* failed = std::get_if<RequestFailed>(&event)) {
        failure = failed->message;
        done = true;
      }
      changed.notify_all();
    });
  }
  void wait() {
    std::unique_lock lock(mutex);
    ASSERT_TRUE(changed.wait_for(lock, std::chrono::seconds(600), [&] { return done; }));
    EXPECT_EQ(failure, "");
  }
  void wait_for_tokens(std::size_t n) {
    std::unique_lock lock(mutex);
    ASSERT_TRUE(
        changed.wait_for(lock, std::chrono::seconds(600), [&] { return done || tokens[0].size() >= n; }));
  }
};

inline GenerationRequest greedy(std::vector<std::int32_t> prompt, std::size_t max_tokens,
                                const char* spec = "full") {
  GenerationRequest request;
  request.prompt = std::move(prompt);
  request.cache = CacheSpec::parse(spec);
  request.max_tokens = max_tokens;
  request.sampler.temperature = 0.0F;
  request.ignore_end = true;
  return request;
}

inline std::vector<std::int32_t> random_prompt(std::size_t tokens, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<std::int32_t> prompt(tokens);
  for (std::int32_t& token : prompt) token = static_cast<std::int32_t>(3 + random() % 90);
  return prompt;
}

// As `thinkey run` does.
inline std::vector<std::int32_t> alone(const std::vector<std::int32_t>& prompt, std::size_t max_tokens,
                                       const char* spec) {
  Session session(tiny(), {.cache = CacheSpec::parse(spec)});
  session.prefill(prompt);
  std::vector<std::int32_t> out;
  while (static_cast<std::size_t>(out.size()) < max_tokens) {
    const auto logits = session.logits();
    std::int32_t best = -1;
    for (std::size_t id = 0; id < logits.size(); ++id) {
      if (tiny()->ends_generation(static_cast<std::int32_t>(id))) continue;
      if (best < 0 || logits[id] > logits[static_cast<std::size_t>(best)])
        best = static_cast<std::int32_t>(id);
    }
    out.push_back(best);
    session.decode(best);
  }
  return out;
}

inline SchedulerOptions roomy() {
  return {.kv_memory = std::size_t{64} << 20U, .parallel = 16, .queue = 100};
}

}  // namespace thinkey::test
