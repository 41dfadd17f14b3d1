#include "base/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <functional>
#include <mutex>
#include <utility>
#include <vector>

#include "base/emergency.h"
#include "base/fail.h"

namespace thinkey {
namespace {

// All mappings there are; nobody else's memory may be given back.
class Mappings {
 public:
  void add(std::span<const std::byte> bytes) {
    const std::scoped_lock lock(mutex_);
    all_.push_back(bytes);
  }
  void remove(const std::byte* data) noexcept {
    const std::scoped_lock lock(mutex_);
    std::erase_if(all_, [&](std::span<const std::byte> one) { return one.data() == data; });
  }
  [[nodiscard]] bool hold(std::span<const std::byte> bytes) noexcept {
    const std::scoped_lock lock(mutex_);
    const std::less_equal<> before;
    return std::any_of(all_.begin(), all_.end(), [&](std::span<const std::byte> one) {
      return before(one.data(), bytes.data()) && before(bytes.data() + bytes.size(), one.data() + one.size());
    });
  }

 private:
  std::mutex mutex_;
  std::vector<std::span<const std::byte>> all_;
};

Mappings& mappings() {
  static auto* all = new Mappings;  // outlives every file
  return *all;
}

}  // namespace

void give_back_mapped(std::span<const std::byte> bytes) noexcept {
  if (bytes.empty() || !mappings().hold(bytes)) return;
  static const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  const std::size_t skipped = (page - reinterpret_cast<std::uintptr_t>(bytes.data()) % page) % page;
  if (bytes.size() <= skipped) return;
  const std::size_t whole = (bytes.size() - skipped) / page * page;
  if (whole > 0) ::madvise(const_cast<std::byte*>(bytes.data()) + skipped, whole, MADV_DONTNEED);
}

MappedFile::MappedFile(const std::filesystem::path& path) : path_(path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) fail_data("{}: cannot open: {}", path.string(), std::strerror(errno));
  struct stat info {};
  if (::fstat(fd, &info) != 0) {
    const int reason = errno;
    ::close(fd);
    fail_data("{}: cannot stat: {}", path.string(), std::strerror(reason));
  }
  if (!S_ISREG(info.st_mode)) {
    ::close(fd);
    fail_data("{}: not a regular file", path.string());
  }
  size_ = static_cast<std::size_t>(info.st_size);
  if (size_ > 0) {  // mmap refuses empty files; an empty span says the same
    void* mapped = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, fd, 0);
    if (mapped == MAP_FAILED) {
      const int reason = errno;
      ::close(fd);
      fail_data("{}: cannot map {} bytes: {}", path.string(), size_, std::strerror(reason));
    }
    data_ = static_cast<const std::byte*>(mapped);
    mappings().add(bytes());
    entry_ = std::make_unique<EmergencyEntry>(EmergencyEntry::Kind::MappedFile, path.string(), mapped, size_);
  }
  ::close(fd);
}

MappedFile::~MappedFile() {
  if (data_ == nullptr) return;
  mappings().remove(data_);
  ::munmap(const_cast<std::byte*>(data_), size_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      entry_(std::move(other.entry_)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(entry_, other.entry_);
  return *this;
}

}  // namespace thinkey
