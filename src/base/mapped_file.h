// A file mapped read-only into memory.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>

namespace thinkey {

class EmergencyEntry;

class MappedFile {
 public:
  // Throws Error(Data) with the path and the system's reason.
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return {data_, size_}; }
  [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }

 private:
  std::filesystem::path path_;
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
  std::unique_ptr<EmergencyEntry> entry_;  // for the line that names it when it is cut short
};

// Gives the system back the whole pages of `bytes` that are part of a mapped file: they leave the resident
// set and come again when they are read. Bytes of other memory are left alone.
void give_back_mapped(std::span<const std::byte> bytes) noexcept;

}  // namespace thinkey
