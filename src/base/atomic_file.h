// A file that appears under its name whole or not at all.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string_view>

namespace thinkey {

class EmergencyEntry;

// Written to a temporary name in the same directory; commit() syncs and renames. Without commit() the
// temporary is removed and what stood under the name stays. Throws Error(Data) with the path and the
// system's reason.
class AtomicFile {
 public:
  explicit AtomicFile(std::filesystem::path path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(std::span<const std::byte> bytes);
  void commit();

 private:
  static constexpr int kNeverOpened = -1;
  static constexpr int kClosed = -2;

  [[noreturn]] void refuse(std::string_view action, int reason) const;

  std::filesystem::path path_;
  std::filesystem::path temporary_;
  int fd_ = kNeverOpened;
  bool committed_ = false;
  std::unique_ptr<EmergencyEntry> entry_;  // so that a signal's death leaves no temporary
};

}  // namespace thinkey
