// The results of a run, one JSON line per (sample, spec), appended as they come and read again to resume.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "eval/run/task.h"

namespace thinkey::eval {

// The first line of the file: a file of another run is refused.
struct RunIdentity {
  std::string task;      // "needle"
  std::string model;     // name, for people
  std::string weights;   // fingerprint, hexadecimal
  std::string settings;  // JSON text
};

class ResultFile {
 public:
  // Opens or creates. An existing file must have the same identity; its records are then kept. A last line
  // that an interruption tore is reported through `warn` and removed (the pair is done again). Error(Data)
  // with file and line for anything else that is wrong, for a file another run has open, and for a pair
  // that occurs twice. `fresh`: start over, keeping nothing. An empty path: nothing is written.
  ResultFile(const std::filesystem::path& path, const RunIdentity& identity, bool fresh, const Hooks& hooks);
  ~ResultFile();
  ResultFile(const ResultFile&) = delete;
  ResultFile& operator=(const ResultFile&) = delete;

  [[nodiscard]] bool has(const std::string& sample, const std::string& cache) const;
  [[nodiscard]] const std::vector<Record>& records() const noexcept { return records_; }

  // Appends one line and hands it to the system before returning. When that fails (disk full), what was
  // written of the line is taken back: Error(Data), and the file is as before.
  void append(Record record);
  // Asks the system to bring what was appended to the disk.
  void sync();

 private:
  void read(const std::string& bytes, const RunIdentity& identity, const Hooks& hooks);
  void write_line(const std::string& line);
  void remember(Record record);

  std::filesystem::path path_;
  int fd_ = -1;
  std::size_t size_ = 0;  // of whole lines
  std::vector<Record> records_;
  std::set<std::pair<std::string, std::string>> done_;
};

// As `task` and `model` name it, in `directory`: another model or other settings give another name.
[[nodiscard]] std::filesystem::path default_result_path(const std::filesystem::path& directory,
                                                        const RunIdentity& identity);

}  // namespace thinkey::eval
