// Many conversations at once answer as each would alone, within the memory they are given.
#include "engine/scheduler/scheduler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <thread>
#include <vector>

#include "scheduler_support.h"

namespace thinkey {
namespace {

using ::testing::HasSubstr;

using namespace test;

TEST(Scheduler, AnswersAsAlone) {
  Scheduler scheduler(tiny(), roomy());
  for (const char* spec : {"full", "think:0.5,recent=40,form=paper", "kivi:8,residual=64",
                           "snapkv:24,window=8", "kvzip:24,adakv", "expected:24,critical"}) {
    const auto prompt = random_prompt(70, 3);
    Client client;
    client.start(scheduler, greedy(prompt, 30, spec));
    client.wait();
    EXPECT_EQ(client.tokens[0], alone(prompt, 30, spec)) << spec;
    EXPECT_EQ(client.reasons[0], FinishReason::Length);
  }
}

// Every request passes the queue, so that one of no places would refuse them all.
TEST(Scheduler, RefusesAQueueOfNone) {
  SchedulerOptions options = roomy();
  options.queue = 0;
  EXPECT_THROW(Scheduler(tiny(), options), Error);
}

TEST(Scheduler, CountsARequestUntilItIsAnswered) {
  Scheduler scheduler(needle(), roomy());
  Client client;
  client.start(scheduler, greedy(random_prompt(1500, 9), 8));
  for (;;) {
    const SchedulerStatus status = scheduler.status();
    {
      const std::scoped_lock lock(client.mutex);
      if (client.done) break;
    }
    ASSERT_GE(status.queued + status.prefilling + status.running, 1U);
    std::this_thread::yield();
  }
  client.wait();
}

// With fifteen others that join and leave while it runs, some by being cancelled.
TEST(Scheduler, AnswersAsAloneAmongOthers) {
  Scheduler scheduler(tiny(), roomy());
  const auto prompt = random_prompt(90, 5);
  const auto expected = alone(prompt, 120, "full");
  std::mt19937 random(11);
  for (int round = 0; round < 3; ++round) {
    std::vector<std::unique_ptr<Client>> others;
    const auto join = [&](std::uint64_t seed) {
      others.push_back(std::make_unique<Client>());
      GenerationRequest request = greedy(random_prompt(5 + seed * 7 % 100, 100 + seed), 5 + seed * 13 % 60,
                                         seed % 3 == 0 ? "snapkv:24,window=8" : "full");
      request.reuse = false;
      others.back()->start(scheduler, std::move(request));
    };
    for (std::uint64_t i = 0; i < 8; ++i) join(i);
    Client client;
    GenerationRequest request = greedy(prompt, 120);
    request.reuse = false;
    client.start(scheduler, std::move(request));
    for (std::uint64_t i = 8; i < 15; ++i) {
      client.wait_for_tokens(i * 5);
      join(i);
      if (random() % 3 == 0) scheduler.cancel(others[random() % others.size()]->ticket);
    }
    client.wait();
    EXPECT_EQ(client.tokens[0], expected);
    for (const auto& other : others) scheduler.cancel(other->ticket);
    for (int i = 0; i < 2; ++i)
      static_cast<void>(scheduler.conversations());  // a step has passed: none is called
  }
}

TEST(Scheduler, GoesOnFromKeptConversations) {
  Scheduler scheduler(tiny(), roomy());
  const auto prompt = random_prompt(100, 9);
  Client first;
  first.start(scheduler, greedy(prompt, 20));
  first.wait();
  EXPECT_EQ(first.cached, 0);

  auto next = prompt;
  next.insert(next.end(), first.tokens[0].begin(), first.tokens[0].end());
  const auto question = random_prompt(10, 10);
  next.insert(next.end(), question.begin(), question.end());
  Client second;
  second.start(scheduler, greedy(next, 10));
  second.wait();
  EXPECT_EQ(second.cached, 119) << "the last token of an answer is not in its cache";
  EXPECT_EQ(second.tokens[0], alone(next, 10, "full"));

  // Another question about the same 100 tokens: a fork within.
  auto other = prompt;
  other.push_back(50);
  other.push_back(51);
  Client third;
  third.start(scheduler, greedy(other, 10));
  third.wait();
  EXPECT_EQ(third.cached, 100);
  EXPECT_EQ(third.tokens[0], alone(other, 10, "full"));

  GenerationRequest fresh = greedy(other, 10);
  fresh.reuse = false;
  Client fourth;
  fourth.start(scheduler, std::move(fresh));
  fourth.wait();
  EXPECT_EQ(fourth.cached, 0);

  Client spec;  // of another cache nothing can be taken
  spec.start(scheduler, greedy(other, 10, "kivi:4"));
  spec.wait();
  EXPECT_EQ(spec.cached, 0);
}

// What is kept depends on the question: only the conversation itself goes on.
TEST(Scheduler, QuestionDependentCachesAreOnlyContinued) {
  Scheduler scheduler(tiny(), roomy());
  const char* spec = "snapkv:24,window=8";
  const auto prompt = random_prompt(100, 9);
  Client first;
  first.start(scheduler, greedy(prompt, 20, spec));
  first.wait();
  auto other = prompt;
  other[95] = 3;
  other.push_back(50);
  Client second;
  second.start(scheduler, greedy(other, 10, spec));
  second.wait();
  EXPECT_EQ(second.cached, 0);
  EXPECT_EQ(second.tokens[0], alone(other, 10, spec));
  auto next = prompt;
  next.insert(next.end(), first.tokens[0].begin(), first.tokens[0].end());
  next.push_back(50);
  for (int i = 0; i < 2; ++i) {  // twice: the conversation is still there after it was continued
    Client third;
    third.start(scheduler, greedy(next, 10, spec));
    third.wait();
    EXPECT_EQ(third.cached, 119);
  }
}

TEST(Scheduler, SeveralAnswersToOnePrompt) {
  Scheduler scheduler(tiny(), roomy());
  GenerationRequest request = greedy(random_prompt(40, 2), 25, "snapkv:24,window=8");
  request.choices = 3;
  request.sampler.temperature = 1.0F;
  request.sampler.seed = 77;
  Client three;
  three.start(scheduler, request);
  three.wait();
  EXPECT_NE(three.tokens[0], three.tokens[1]);
  for (int i = 0; i < 3; ++i) {  // answer i is what a request with seed + i gets
    GenerationRequest one = request;
    one.choices = 1;
    one.sampler.seed = 77 + static_cast<std::uint64_t>(i);
    one.reuse = false;
    Client client;
    client.start(scheduler, one);
    client.wait();
    EXPECT_EQ(client.tokens[0], three.tokens[static_cast<std::size_t>(i)]) << i;
  }
}

TEST(Scheduler, LogProbabilitiesOfThePrompt) {
  Scheduler scheduler(tiny(), roomy());
  const auto prompt = random_prompt(60, 4);
  GenerationRequest request = greedy(prompt, 0);
  request.top_logprobs = 2;
  request.prompt_logprobs = true;
  Client client;
  client.start(scheduler, request);
  client.wait();
  ASSERT_EQ(client.prompt_logprobs.size(), 59U);
  Session session(tiny(), {});
  std::vector<double> expected;
  session.prefill(prompt, {}, [&](std::size_t index, std::span<const float> logits) {
    if (index + 1 == 60) return;
    double sum = 0;
    for (const float logit : logits) sum += std::exp(static_cast<double>(logit));
    expected.push_back(
        static_cast<double>(logits[static_cast<std::size_t>(prompt[static_cast<std::size_t>(index) + 1])]) -
        std::log(sum));
  });
  for (std::size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(client.prompt_logprobs[i].token, prompt[i + 1]);
    EXPECT_NEAR(client.prompt_logprobs[i].logprob, expected[i], 1e-4);
    ASSERT_EQ(client.prompt_logprobs[i].top.size(), 2U);
    EXPECT_GE(client.prompt_logprobs[i].top[0].second, client.prompt_logprobs[i].top[1].second);
  }
}

// Memory for about three such conversations: all are answered, the bound is never passed, and what cannot be
// is refused with the numbers.
TEST(Scheduler, StaysWithinItsMemory) {
  const std::size_t one = tiny()->estimate_cache(CacheSpec{}, 120).bytes;
  SchedulerOptions options = roomy();
  options.kv_memory = 5 * one;
  Scheduler scheduler(tiny(), options);
  std::vector<std::unique_ptr<Client>> clients;
  for (std::uint64_t i = 0; i < 40; ++i) {
    clients.push_back(std::make_unique<Client>());
    clients.back()->start(scheduler, greedy(random_prompt(20 + i * 37 % 80, i), 20,
                                            i % 2 == 0 ? "full" : "think:0.5,form=paper"));
  }
  for (const auto& client : clients) client->wait();
  const SchedulerStatus status = scheduler.status();
  EXPECT_LE(status.kv_peak, options.kv_memory);
  EXPECT_GT(status.evicted, 0U);
  EXPECT_EQ(status.completed, 40U);
  try {
    options.kv_memory = one / 2;
    Scheduler small(tiny(), options);
    Client client;
    client.start(small, greedy(random_prompt(120, 1), 20));
    ADD_FAILURE() << "taken";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::Usage);
    EXPECT_THAT(error.what(), HasSubstr("120 prompt tokens"));
    EXPECT_THAT(error.what(), HasSubstr("MiB"));
  }
}

// Short of memory, idle conversations become thinner before any goes, and are gone on from.
TEST(Scheduler, CompressesIdleConversationsUnderPressure) {
  const std::size_t one = needle()->estimate_cache(CacheSpec{}, 1050).bytes;
  for (const bool compress : {false, true}) {
    SchedulerOptions options = roomy();
    options.kv_memory = 3 * one;
    options.compress_idle = compress;
    Scheduler scheduler(needle(), options);
    std::vector<std::vector<std::int32_t>> prompts;
    for (std::uint64_t i = 0; i < 5; ++i) prompts.push_back(random_prompt(1000, i));
    for (const auto& prompt : prompts) {
      Client client;
      client.start(scheduler, greedy(prompt, 10));
      client.wait();
    }
    int found = 0;
    for (auto prompt : prompts) {
      prompt.resize(995);
      prompt.push_back(50);
      Client client;
      client.start(scheduler, greedy(prompt, 1));
      client.wait();
      found += client.cached == 995 ? 1 : 0;
    }
    const SchedulerStatus status = scheduler.status();
    EXPECT_LE(status.kv_peak, options.kv_memory);
    if (compress) {
      EXPECT_GT(status.compressed, 2U);
      EXPECT_GE(found, 4);
    } else {
      EXPECT_EQ(status.compressed, 0U);
      EXPECT_LE(found, 2);
    }
  }
}

TEST(Scheduler, CancellingFreesAtOnce) {
  SchedulerOptions options = roomy();
  options.parallel = 1;
  options.queue = 2;
  Scheduler scheduler(needle(), options);
  Client endless;
  endless.start(scheduler, greedy(random_prompt(10, 1), 8000));
  endless.wait_for_tokens(1);
  Client waiting;
  Client another;
  Client refused;
  waiting.start(scheduler, greedy(random_prompt(10, 2), 3));
  another.start(scheduler, greedy(random_prompt(10, 3), 3));
  EXPECT_THROW(refused.start(scheduler, greedy(random_prompt(10, 4), 3)), QueueFull);
  scheduler.cancel(endless.ticket);
  scheduler.cancel(another.ticket);
  waiting.wait();
  for (const ConversationInfo& info : scheduler.conversations()) scheduler.erase(info.id);
  EXPECT_TRUE(scheduler.conversations().empty());
  static_cast<void>(scheduler.conversations());
  EXPECT_EQ(scheduler.status().kv_used, 0U);
  EXPECT_EQ(scheduler.status().cancelled, 2U);
}

}  // namespace
}  // namespace thinkey
