// What a signal handler must know to end the program decently: which files are mapped, and which temporary
// ones are to be removed. Lists that are changed under a lock and walked without one.
#pragma once

#include <atomic>
#include <cstddef>
#include <string>

namespace thinkey {

// Stands in one of the lists from construction to destruction.
class EmergencyEntry {
 public:
  enum class Kind { MappedFile, TemporaryFile };

  EmergencyEntry(Kind kind, std::string path, const void* begin = nullptr, std::size_t bytes = 0);
  ~EmergencyEntry();
  EmergencyEntry(const EmergencyEntry&) = delete;
  EmergencyEntry& operator=(const EmergencyEntry&) = delete;

  [[nodiscard]] const char* path() const noexcept { return path_.c_str(); }
  [[nodiscard]] const EmergencyEntry* next() const noexcept { return next_.load(); }
  [[nodiscard]] bool holds(const void* address) const noexcept {
    const auto* byte = static_cast<const std::byte*>(address);
    return byte >= begin_ && byte < begin_ + bytes_;
  }

 private:
  std::string path_;
  const std::byte* begin_;
  std::size_t bytes_;
  std::atomic<EmergencyEntry*>* head_;
  std::atomic<EmergencyEntry*> next_{nullptr};
};

// Unlinks the temporary files of unfinished writes. Async-signal-safe.
void remove_temporary_files() noexcept;

// From now on reading a mapped file that was cut short, or that its disk no longer gives (SIGBUS), ends the
// program with one line on standard error and exit code 1, without temporary files; what is on disk stays. A
// SIGBUS of another cause does what it does by default.
void report_lost_mappings();

}  // namespace thinkey
