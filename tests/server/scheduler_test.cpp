// Many conversations at once answer as each would alone, within the memory they are given.
#include "engine/scheduler/scheduler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "thinkey/generate.h"

namespace thinkey {
namespace {

using ::testing::HasSubstr;

std::shared_ptr<const Model> tiny() {
  static const auto model =
      Model::load(THINKEY_FIXTURES "/model/llama2.gguf", {.threads = 2, .precision = PrefillPrecision::F32});
  return model;
}

// A context of 8192.
std::shared_ptr<const Model> needle() {
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

GenerationRequest greedy(std::vector<std::int32_t> prompt, std::size_t max_tokens,
                         const char* spec = "full") {
  GenerationRequest request;
  request.prompt = std::move(prompt);
  request.cache = CacheSpec::parse(spec);
  request.max_tokens = max_tokens;
  request.sampler.temperature = 0.0F;
  request.ignore_end = true;
  return request;
}

std::vector<std::int32_t> random_prompt(std::size_t tokens, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<std::int32_t> prompt(tokens);
  for (std::int32_t& token : prompt) token = static_cast<std::int32_t>(3 + random() % 90);
  return prompt;
}

// As `thinkey run` does.
std::vector<std::int32_t> alone(const std::vector<std::int32_t>& prompt, std::size_t max_tokens,
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

SchedulerOptions roomy() { return {.kv_memory = std::size_t{64} << 20U, .parallel = 16, .queue = 100}; }

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

class Durable : public ::testing::Test {
 protected:
  void SetUp() override {
    directory_ = std::filesystem::temp_directory_path() / ("thinkey-scheduler-" + std::to_string(::getpid()));
    std::filesystem::remove_all(directory_);
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }
  [[nodiscard]] SchedulerOptions options() const {
    SchedulerOptions out = roomy();
    out.cache_directory = directory_;
    out.cache_disk = std::size_t{1} << 30U;
    return out;
  }
  std::filesystem::path directory_;
};

TEST_F(Durable, ConversationsOutliveTheProcess) {
  const auto prompt = random_prompt(100, 9);
  auto next = prompt;
  std::vector<std::int32_t> expected;
  {
    Scheduler scheduler(tiny(), options());
    Client first;
    first.start(scheduler, greedy(prompt, 20, "kivi:8,residual=64"));
    first.wait();
    next.insert(next.end(), first.tokens[0].begin(), first.tokens[0].end());
    next.push_back(50);
    scheduler.drain(10);
    Client late;
    EXPECT_THROW(late.start(scheduler, greedy(prompt, 1)), QueueFull);
  }
  for (int round = 0; round < 2; ++round) {
    Scheduler scheduler(tiny(), options());
    Client second;
    second.start(scheduler, greedy(next, 10, "kivi:8,residual=64"));
    second.wait();
    EXPECT_EQ(second.cached, 119);
    EXPECT_EQ(scheduler.status().restored, 1U);
    if (round == 0) expected = second.tokens[0];
    EXPECT_EQ(second.tokens[0], expected);
  }
  // A damaged file is dropped and the prompt computed anew.
  for (const auto& file : std::filesystem::directory_iterator(directory_)) {
    if (!file.is_regular_file()) continue;
    std::fstream damaged(file.path(), std::ios::in | std::ios::out | std::ios::binary);
    damaged.seekp(-20, std::ios::end);
    damaged.put('x');
    damaged.put('y');
  }
  Scheduler scheduler(tiny(), options());
  Client third;
  third.start(scheduler, greedy(next, 10, "kivi:8,residual=64"));
  third.wait();
  EXPECT_EQ(third.cached, 0);
}

// A cache's own spec is what became of the one asked for: a budget resolved, a full cache quantized.
TEST_F(Durable, ConversationsAreFoundUnderTheSpecAskedFor) {
  for (const char* spec : {"auto:40%", "turbo:40%", "snapkv:30%,window=8"}) {
    const auto prompt = random_prompt(200, 9);
    auto next = prompt;
    {
      Scheduler scheduler(tiny(), options());
      Client first;
      first.start(scheduler, greedy(prompt, 8, spec));
      first.wait();
      next.insert(next.end(), first.tokens[0].begin(), first.tokens[0].end());
      next.push_back(50);
      scheduler.drain(10);
      EXPECT_EQ(scheduler.status().saved, 1U);
    }
    Scheduler scheduler(tiny(), options());
    Client other;  // whose budget is another
    other.start(scheduler, greedy(next, 3, "auto:60%"));
    other.wait();
    EXPECT_EQ(other.cached, 0U);
    Client second;
    second.start(scheduler, greedy(next, 8, spec));
    second.wait();
    EXPECT_EQ(second.cached, 207U) << spec;
    EXPECT_EQ(scheduler.status().restored, 1U);
    // What was kept suits the end of the prompt: another question does not go on from within it.
    Client third;
    third.start(scheduler, greedy({prompt.begin(), prompt.end() - 50}, 3, spec));
    third.wait();
    EXPECT_EQ(third.cached, 0U) << spec;
  }
}

// Two servers of one directory: what one answered, the other continues, though the first never ended in
// peace.
TEST_F(Durable, ServersShareADirectory) {
  SchedulerOptions shared = options();
  shared.cache_shared = true;
  Scheduler one(tiny(), shared);
  Scheduler other(tiny(), shared);
  const auto files = [&] {
    std::size_t count = 0;
    for (const auto& file : std::filesystem::directory_iterator(directory_))
      count += file.is_regular_file() ? 1 : 0;
    return count;
  };
  auto prompt = random_prompt(100, 9);
  for (std::size_t turn = 0; turn < 4; ++turn) {
    Scheduler& scheduler = turn % 2 == 0 ? one : other;
    Client client;
    client.start(scheduler, greedy(prompt, 20));
    client.wait();
    EXPECT_EQ(client.cached, turn == 0 ? 0 : prompt.size() - 2);
    static_cast<void>(scheduler.conversations());  // the answer's end is told before it is written
    EXPECT_EQ(files(), 1U) << "a conversation that another continues needs no file";
    EXPECT_EQ(scheduler.status().kv_running, 0U);
    prompt.insert(prompt.end(), client.tokens[0].begin(), client.tokens[0].end());
    prompt.push_back(50);
  }
  EXPECT_EQ(one.status().restored, 1U);
  EXPECT_EQ(other.status().restored, 2U);
  EXPECT_EQ(one.status().evicted, 0U);
}

// Room for a file's conversation is made by putting others away, for which that very file may have to go.
TEST_F(Durable, FilesMayGoWhileOneIsWanted) {
  SchedulerOptions tight = options();
  const std::size_t one = tiny()->estimate_cache(CacheSpec{}, 120).bytes;
  tight.kv_memory = 3 * one;
  tight.cache_disk = 2 * one;
  Scheduler scheduler(tiny(), tight);
  std::mt19937 random(5);
  for (int i = 0; i < 120; ++i) {
    auto prompt = random_prompt(100, random() % 6);
    prompt.push_back(static_cast<std::int32_t>(3 + random() % 90));
    Client client;
    client.start(scheduler, greedy(prompt, 3));
    client.wait();
  }
  EXPECT_LE(scheduler.status().kv_peak, tight.kv_memory);
}

TEST_F(Durable, SavesByName) {
  Scheduler scheduler(tiny(), options());
  const auto prompt = random_prompt(100, 9);
  Client first;
  first.start(scheduler, greedy(prompt, 5));
  first.wait();
  const std::uint64_t id = scheduler.conversations().at(0).id;
  EXPECT_EQ(scheduler.save(id, "mine.kv").tokens, 104);
  for (const char* name : {"", "../up", "a/b", ".hidden", "sp ace", "/etc/passwd"}) {
    EXPECT_THROW((void)scheduler.save(id, name), Error) << name;
    EXPECT_THROW((void)scheduler.restore(name), Error) << name;
  }
  EXPECT_THROW((void)scheduler.restore("unknown"), Error);
  scheduler.erase(id);
  EXPECT_THROW(scheduler.erase(id), Error);
  EXPECT_EQ(scheduler.restore("mine.kv").tokens, 104);
  Client second;
  second.start(scheduler, greedy(prompt, 5));
  second.wait();
  EXPECT_EQ(second.cached, 99);
}

}  // namespace
}  // namespace thinkey
