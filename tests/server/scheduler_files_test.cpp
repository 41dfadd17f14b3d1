// Conversations in files: found again by the next process, and by servers that share a directory.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "engine/model_impl.h"
#include "engine/scheduler/conversation_files.h"
#include "scheduler_support.h"

namespace thinkey {
namespace {

using namespace test;
using ::testing::HasSubstr;

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

// What lies in a directory is known by name: what comes, goes and comes again is noticed, what is no
// conversation of ours is left alone.
TEST_F(Durable, DirectoriesAreLookedAtAgain) {
  {
    Scheduler scheduler(tiny(), options());
    Client client;
    client.start(scheduler, greedy(random_prompt(100, 9), 3));
    client.wait();
    scheduler.drain(10);
  }
  std::filesystem::path file;
  for (const auto& each : std::filesystem::directory_iterator(directory_)) {
    if (each.is_regular_file()) file = each.path();
  }
  const std::filesystem::path kept = directory_ / "slots" / "kept";
  const std::filesystem::path other = directory_ / "other.conversation";
  const std::filesystem::path folder = directory_ / "folder.conversation";
  const std::uint64_t fingerprint = ModelAccess::impl(*tiny()).fingerprint();
  ConversationFiles files(directory_, fingerprint, std::size_t{1} << 30U);
  const ConversationFiles foreign(directory_, fingerprint + 1, std::size_t{1} << 30U);
  EXPECT_EQ(files.size(), 1U);
  EXPECT_EQ(foreign.size(), 0U);
  std::filesystem::rename(file, kept);
  files.refresh();
  EXPECT_EQ(files.size(), 0U);
  std::ofstream(file) << "nothing of ours";
  std::filesystem::create_directory(folder);
  std::filesystem::copy_file(kept, other);
  files.refresh();
  EXPECT_EQ(files.size(), 1U);
  std::filesystem::remove(file);
  files.refresh();
  std::filesystem::copy_file(kept, file);
  files.refresh();
  EXPECT_EQ(files.size(), 2U);
  EXPECT_TRUE(std::filesystem::exists(folder));

  // A look at a thousand known names takes a fraction of a millisecond; searching for each among all
  // takes 20.
  for (int i = 0; i < 1000; ++i) {
    std::filesystem::create_hard_link(kept, directory_ / (std::to_string(i) + ".conversation"));
  }
  files.refresh();
  EXPECT_EQ(files.size(), 1002U);
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < 200; ++i) files.refresh();
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(1));
  std::filesystem::remove_all(directory_);
  files.refresh();  // not there at the moment: what is known stays
  EXPECT_EQ(files.size(), 1002U);
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
