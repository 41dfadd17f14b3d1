// The built program as a process: what it prints and how it ends.
#pragma once

#include <gtest/gtest.h>
#include <sys/types.h>

#include <csignal>
#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace thinkey::test {

struct Outcome {
  int status = -1;  // exit code; 128 + signal when one ended it
  std::string out;  // standard output
  std::string err;  // standard error
};

struct Surroundings {
  std::string input = {};             // standard input
  std::filesystem::path output = {};  // standard output goes to this file (/dev/full) instead
  bool closed_output = false;         // standard output is a pipe nobody reads
  std::size_t file_limit = 0;         // most bytes of a file the program may write; 0: any
  bool interrupt_work = false;        // `signal` as soon as the program catches it
  std::string interrupt_after = {};   // `signal` once standard output holds this text
  int signal = SIGINT;
  int interrupt_delay_ms = 0;           // and so much later
  std::filesystem::path truncate = {};  // this file is cut to a page instead
};

[[nodiscard]] Outcome run_thinkey(const std::vector<std::string>& arguments,
                                  const Surroundings& surroundings = {});

// The program fails with this exit code and one line on standard error, "thinkey: ...", holding each word.
void expect_failure(const Outcome& outcome, int status, const std::vector<std::string>& words);

// A directory for one test, removed afterwards.
class TemporaryDirectory {
 public:
  TemporaryDirectory();
  ~TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

  [[nodiscard]] std::string operator/(std::string_view name) const { return (path_ / name).string(); }
  // Writes a file and returns its path.
  std::string write(std::string_view name, std::string_view bytes) const;

 private:
  std::filesystem::path path_;
};

[[nodiscard]] std::string read_bytes(const std::filesystem::path& path);

// Fixtures of other floors.
[[nodiscard]] inline std::string fixture(std::string_view name) {
  return THINKEY_FIXTURES "/" + std::string(name);
}
// Random weights, 96 one-character tokens (SentencePiece), context 256; with its greedy continuation.
[[nodiscard]] inline std::string tiny_model() { return fixture("model/llama2.gguf"); }
inline constexpr int kTinyVocabulary = 96;
inline constexpr int kTinyContext = 256;

}  // namespace thinkey::test
