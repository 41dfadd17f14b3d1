#include "base/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/emergency.h"
#include "base/fail.h"

namespace thinkey {

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
    entry_ = std::make_unique<EmergencyEntry>(EmergencyEntry::Kind::MappedFile, path.string(), mapped, size_);
  }
  ::close(fd);
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
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
