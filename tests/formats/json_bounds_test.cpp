#include "formats/json_bounds.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include "formats/text_file.h"
#include "thinkey/error.h"

namespace thinkey {
namespace {

using ::testing::HasSubstr;

TEST(JsonBounds, CountOutsideStringsOnly) {
  EXPECT_EQ(json_excess(R"({"a":[1,{"b":"]]]{{{::: \" \\"}]})"), "");
  EXPECT_EQ(json_excess(std::string(64, '[') + std::string(64, ']')), "");
  EXPECT_THAT(json_excess(std::string(65, '[')), HasSubstr("64 deep"));
  EXPECT_THAT(json_excess(std::string(65, '{')), HasSubstr("64 deep"));
  EXPECT_EQ(json_excess("[" + std::string(1000, ']') + "[[", {.depth = 2, .keys = 0}), "");
  std::string keys = "{";
  for (int i = 0; i < 5; ++i) keys += "\"k\":0,";
  EXPECT_EQ(json_excess(keys, {.depth = 2, .keys = 5}), "");
  EXPECT_THAT(json_excess(keys, {.depth = 2, .keys = 4}), HasSubstr("more than 4 keys"));
  EXPECT_EQ(json_excess(""), "");
  EXPECT_EQ(json_excess("\"\\"), "");
}

TEST(TextFile, LargeFilesAreRefusedBeforeTheyAreRead) {
  const auto path = std::filesystem::temp_directory_path() / ("thinkey-large-" + std::to_string(::getpid()));
  std::ofstream(path) << "x";
  std::filesystem::resize_file(path, std::uintmax_t{3} << 30U);
  const std::clock_t start = std::clock();
  try {
    (void)read_file(path, {.bytes = 1000, .why = ", too much"});
    ADD_FAILURE() << "it was read";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("more than 1000 B of text, too much"));
  }
  EXPECT_LT(std::clock() - start, CLOCKS_PER_SEC);  // of work: a busy machine does not count
  std::filesystem::remove(path);
}

extern "C" void ignore_alarm(int) {}

// Short reads, and reads that a signal interrupts: nothing is lost and nothing is an error.
TEST(TextFile, ReadsThroughSignalsAndShortReads) {
  const auto path = std::filesystem::temp_directory_path() / ("thinkey-fifo-" + std::to_string(::getpid()));
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  struct sigaction action = {};
  action.sa_handler = ignore_alarm;  // and no SA_RESTART
  struct sigaction before = {};
  sigaction(SIGALRM, &action, &before);
  std::string wanted;
  for (int i = 0; i < 400; ++i) wanted += "piece " + std::to_string(i) + "\n";
  std::thread writer([&] {
    sigset_t alarm;
    sigemptyset(&alarm);
    sigaddset(&alarm, SIGALRM);
    pthread_sigmask(SIG_BLOCK, &alarm, nullptr);
    std::ofstream out(path);
    for (std::size_t at = 0; at < wanted.size(); at += 37) {
      out << wanted.substr(at, 37) << std::flush;
      std::this_thread::sleep_for(std::chrono::microseconds(700));
    }
  });
  const itimerval often = {.it_interval = {0, 1000}, .it_value = {0, 1000}};
  setitimer(ITIMER_REAL, &often, nullptr);
  std::string got;
  for (;;) {
    try {
      got = read_file(path);
      break;
    } catch (const Error& error) {  // opening may be interrupted, before a writer is there
      if (std::string(error.what()).find("cannot open") == std::string::npos) throw;
    }
  }
  const itimerval never = {};
  setitimer(ITIMER_REAL, &never, nullptr);
  writer.join();
  sigaction(SIGALRM, &before, nullptr);
  EXPECT_EQ(got, wanted);
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace thinkey
