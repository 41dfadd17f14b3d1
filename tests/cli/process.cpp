#include "cli/process.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <thread>

namespace thinkey::test {

namespace {

constexpr auto kPatience = std::chrono::seconds(120);

// In the child, between fork and exec: only system calls.
[[noreturn]] void become_thinkey(const std::vector<char*>& arguments, const std::array<int, 3>& descriptors,
                                 std::size_t file_limit) {
  for (int i = 0; i < 3; ++i) ::dup2(descriptors[static_cast<std::size_t>(i)], i);
  if (file_limit > 0) {
    const rlimit limit = {file_limit, file_limit};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ::execv(THINKEY_PROGRAM, arguments.data());
  ::_exit(127);
}

int wait_for(pid_t child) {
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  int status = 0;
  while (::waitpid(child, &status, WNOHANG) == 0) {
    if (std::chrono::steady_clock::now() > deadline) {
      ::kill(child, SIGKILL);
      ::waitpid(child, &status, 0);
      ADD_FAILURE() << "thinkey did not end";
      break;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int open_or_throw(const std::filesystem::path& path, int flags) {
  const int descriptor = ::open(path.c_str(), flags | O_CLOEXEC, 0600);
  if (descriptor < 0) throw std::runtime_error("cannot open " + path.string());
  return descriptor;
}

int closed_pipe() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw std::runtime_error("no pipe");
  ::close(ends[0]);
  return ends[1];
}

// Linux: the handled signals as a hexadecimal mask in /proc.
bool catches_interrupts(pid_t child) {
  std::ifstream status("/proc/" + std::to_string(child) + "/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("SigCgt:")) {
      return (std::stoull(line.substr(7), nullptr, 16) >> (SIGINT - 1U) & 1U) != 0;
    }
  }
  return false;
}

// Sends the signal, or cuts the file, once `ready` says so.
template <typename Ready>
void interrupt_when(pid_t child, const Surroundings& surroundings, const Ready& ready) {
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (!ready()) {
    siginfo_t ended = {};
    ::waitid(P_PID, static_cast<id_t>(child), &ended, WEXITED | WNOHANG | WNOWAIT);
    if (ended.si_pid == child || std::chrono::steady_clock::now() > deadline) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(surroundings.interrupt_delay_ms));
  if (surroundings.truncate.empty()) {
    ::kill(child, surroundings.signal);
  } else {
    std::filesystem::resize_file(surroundings.truncate, 4096);
  }
}

}  // namespace

Outcome run_thinkey(const std::vector<std::string>& arguments, const Surroundings& surroundings) {
  // A sanitizer's findings must not pass for the program's own exit codes.
  ::setenv("ASAN_OPTIONS", "exitcode=99", 1);
  ::setenv("UBSAN_OPTIONS", "exitcode=99:print_stacktrace=1", 1);
  const TemporaryDirectory scratch;
  std::vector<std::string> words = {"thinkey"};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);

  const std::filesystem::path out =
      surroundings.output.empty() ? std::filesystem::path(scratch / "out") : surroundings.output;
  const std::array<int, 3> descriptors = {
      open_or_throw(scratch.write("in", surroundings.input), O_RDONLY),
      surroundings.closed_output ? closed_pipe() : open_or_throw(out, O_WRONLY | O_CREAT),
      open_or_throw(scratch / "err", O_WRONLY | O_CREAT)};
  const pid_t child = ::fork();
  if (child == 0) become_thinkey(pointers, descriptors, surroundings.file_limit);
  for (const int descriptor : descriptors) ::close(descriptor);
  if (surroundings.interrupt_work)
    interrupt_when(child, surroundings, [&] { return catches_interrupts(child); });
  if (!surroundings.interrupt_after.empty()) {
    interrupt_when(child, surroundings,
                   [&] { return read_bytes(out).find(surroundings.interrupt_after) != std::string::npos; });
  }

  Outcome outcome;
  outcome.status = wait_for(child);
  if (surroundings.output.empty() && !surroundings.closed_output) outcome.out = read_bytes(out);
  outcome.err = read_bytes(scratch / "err");
  return outcome;
}

void expect_failure(const Outcome& outcome, int status, const std::vector<std::string>& words) {
  EXPECT_EQ(outcome.status, status) << outcome.err;
  EXPECT_THAT(outcome.err, ::testing::StartsWith("thinkey: "));
  EXPECT_EQ(std::ranges::count(outcome.err, '\n'), 1) << outcome.err;
  for (const std::string& word : words) EXPECT_THAT(outcome.err, ::testing::HasSubstr(word));
}

TemporaryDirectory::TemporaryDirectory() {
  std::string name = (std::filesystem::temp_directory_path() / "thinkey-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("no temporary directory");
  path_ = name;
}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string TemporaryDirectory::write(std::string_view name, std::string_view bytes) const {
  const std::filesystem::path path = path_ / name;
  std::ofstream(path, std::ios::binary) << bytes;
  return path.string();
}

std::string read_bytes(const std::filesystem::path& path) {
  std::ostringstream bytes;
  bytes << std::ifstream(path, std::ios::binary).rdbuf();
  return bytes.str();
}

}  // namespace thinkey::test
