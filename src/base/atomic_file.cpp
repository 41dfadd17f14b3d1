#include "base/atomic_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/emergency.h"
#include "base/fail.h"

namespace thinkey {

AtomicFile::AtomicFile(std::filesystem::path path) : path_(std::move(path)) {
  // The process id and a counter keep two writers of the same path apart.
  static std::atomic<unsigned> counter{0};
  temporary_ = path_;
  temporary_ += fmt::format(".{}.{}.tmp", ::getpid(), counter.fetch_add(1));
  fd_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (fd_ < 0) refuse("cannot create", errno);
  entry_ = std::make_unique<EmergencyEntry>(EmergencyEntry::Kind::TemporaryFile, temporary_.string());
}

AtomicFile::~AtomicFile() {
  if (fd_ >= 0) ::close(fd_);
  if (!committed_ && fd_ != kNeverOpened) ::unlink(temporary_.c_str());
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd_, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) refuse("cannot write", errno);
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
}

void AtomicFile::commit() {
  if (::fsync(fd_) != 0) refuse("cannot write", errno);
  if (::close(std::exchange(fd_, kClosed)) != 0) refuse("cannot write", errno);
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) refuse("cannot rename the finished file", errno);
  committed_ = true;
  entry_.reset();
  // The new name itself survives a power cut only once the directory is synced; best effort.
  const std::filesystem::path parent = path_.parent_path();
  const int directory = ::open(parent.empty() ? "." : parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory >= 0) {
    (void)::fsync(directory);
    ::close(directory);
  }
}

void AtomicFile::refuse(std::string_view action, int reason) const {
  fail_data("{}: {}: {}", path_.string(), action, std::strerror(reason));
}

}  // namespace thinkey
