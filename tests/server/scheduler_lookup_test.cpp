// Prompt lookup in the scheduler: drafts change when tokens come, not which.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "scheduler_support.h"

namespace thinkey {
namespace {

using namespace test;

// A prompt that an answer may quote: the fixture's answers soon repeat themselves, too.
std::vector<std::int32_t> repeating_prompt(std::uint64_t seed) {
  auto prompt = random_prompt(40, seed);
  prompt.insert(prompt.end(), prompt.begin(), prompt.end());
  return prompt;
}

TEST(SchedulerLookup, AnswersAsWithoutIt) {
  SchedulerOptions options = roomy();
  options.lookup = 8;
  Scheduler scheduler(tiny(), options);
  for (const char* spec : {"full", "think:0.5,recent=40,form=paper", "kivi:8,residual=64",
                           "snapkv:24,window=8,every=16", "kvzip:24,adakv"}) {
    const auto prompt = repeating_prompt(3);
    Client client;
    client.start(scheduler, greedy(prompt, 90, spec));
    client.wait();
    EXPECT_EQ(client.tokens[0], alone(prompt, 90, spec)) << spec;
    EXPECT_EQ(client.reasons[0], FinishReason::Length);
  }
  const SchedulerStatus status = scheduler.status();
  EXPECT_GT(status.accepted_tokens, 10U);
  EXPECT_LE(status.accepted_tokens, status.drafted_tokens);
  EXPECT_LT(status.decode_steps + status.accepted_tokens, 5U * 90U);
  EXPECT_EQ(status.generated_tokens, 5U * 90U);
}

// Answers that stop, are given up or go on in the middle of a draft leave conversations as they would be.
TEST(SchedulerLookup, LeavesConversationsAsWithoutIt) {
  std::uint64_t accepted = 0;
  for (const char* spec : {"full", "kivi:8,residual=64", "streaming:64"}) {
    std::vector<std::vector<std::int32_t>> second[2];
    for (const std::size_t lookup : {0, 8}) {
      SchedulerOptions options = roomy();
      options.lookup = lookup;
      Scheduler scheduler(tiny(), options);
      for (std::size_t length = 3; length < 60; length += 4) {
        const auto prompt = repeating_prompt(length);
        Client first;
        first.start(scheduler, greedy(prompt, length, spec));
        first.wait();
        auto next = prompt;
        next.insert(next.end(), first.tokens[0].begin(), first.tokens[0].end());
        next.push_back(50);
        Client client;
        client.start(scheduler, greedy(next, 20, spec));
        client.wait();
        EXPECT_EQ(client.cached, prompt.size() + length - 1) << spec;
        second[lookup > 0 ? 1 : 0].push_back(client.tokens[0]);
      }
      accepted += scheduler.status().accepted_tokens;
    }
    EXPECT_EQ(second[0], second[1]) << spec;
  }
  EXPECT_GT(accepted, 50U);
}

// Some at once, some given up: no memory beyond what was promised, every answer as alone.
TEST(SchedulerLookup, AnswersAsAloneAmongOthers) {
  SchedulerOptions options = roomy();
  options.lookup = 12;
  options.parallel = 3;  // beside more, drafts must be likelier to be right than theirs are at first
  Scheduler scheduler(tiny(), options);
  std::mt19937 random(17);
  std::vector<std::unique_ptr<Client>> clients;
  std::vector<std::vector<std::int32_t>> prompts;
  std::vector<bool> given_up;
  const auto spec = [](std::uint64_t i) { return i % 3 == 0 ? "kivi:8,residual=64" : "full"; };
  for (std::uint64_t i = 0; i < 12; ++i) {
    prompts.push_back(repeating_prompt(i));
    clients.push_back(std::make_unique<Client>());
    GenerationRequest request = greedy(prompts[i], 100, spec(i));
    request.reuse = false;
    clients[i]->start(scheduler, std::move(request));
    given_up.push_back(i % 4 == 3);
    if (i % 4 != 3) continue;
    clients[i]->wait_for_tokens(1 + random() % 60);
    scheduler.cancel(clients[i]->ticket);
  }
  for (std::uint64_t i = 0; i < 12; ++i) {
    if (given_up[i]) continue;
    clients[i]->wait();
    EXPECT_EQ(clients[i]->tokens[0], alone(prompts[i], 100, spec(i)));
  }
  // What those that were given up had said by then is kept whole.
  for (std::uint64_t i = 3; i < 12; i += 4) {
    std::vector<std::int32_t> said;
    {
      const std::scoped_lock lock(clients[i]->mutex);
      said = clients[i]->tokens[0];
    }
    if (said.size() < 2 || clients[i]->done) continue;
    auto next = prompts[i];
    next.insert(next.end(), said.begin(), said.end());
    next.push_back(50);
    Client client;
    client.start(scheduler, greedy(next, 5, spec(i)));
    client.wait();
    EXPECT_GE(client.cached, prompts[i].size() + said.size() - 1);
  }
  EXPECT_GT(scheduler.status().accepted_tokens, 0U);
  EXPECT_LE(scheduler.status().kv_peak, options.kv_memory);
}

TEST(SchedulerLookup, IsBounded) {
  SchedulerOptions options = roomy();
  options.lookup = kMostLookup + 1;
  EXPECT_THROW(Scheduler(tiny(), options), Error);
}
}  // namespace
}  // namespace thinkey
