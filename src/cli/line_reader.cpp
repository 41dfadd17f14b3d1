#include "cli/line_reader.h"

#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <system_error>
#include <utility>

#include "base/fail.h"
#include "base/stop_signal.h"
#include "cli/interrupt.h"

namespace thinkey::cli {

namespace {
constexpr std::size_t kLongestLine = std::size_t{64} << 20U;
}  // namespace

LineReader::Result LineReader::read() {
  std::size_t searched = 0;
  std::array<char, 4096> block;
  while (true) {
    const std::size_t newline = buffer_.find('\n', searched);
    if (newline != std::string::npos) {
      std::string line = buffer_.substr(0, newline);
      buffer_.erase(0, newline + 1);
      if (line.ends_with('\r')) line.pop_back();
      return {Status::Line, std::move(line)};
    }
    searched = buffer_.size();
    if (searched > kLongestLine) fail_data("standard input: a line of more than 64 MiB");
    // Signals do not reach this thread: their descriptor is waited for beside the input.
    std::array<pollfd, 2> sources = {{{.fd = stop_descriptor(), .events = POLLIN, .revents = 0},
                                      {.fd = descriptor_, .events = POLLIN, .revents = 0}}};
    if (::poll(sources.data(), sources.size(), -1) < 0 && errno != EINTR) {
      fail_data("standard input: cannot wait for it: {}", std::generic_category().message(errno));
    }
    if (interrupted()) {
      buffer_.clear();
      return {Status::Interrupted, {}};
    }
    if (sources[1].revents == 0) continue;
    const ssize_t n = ::read(descriptor_, block.data(), block.size());
    if (n > 0) {
      buffer_.append(block.data(), static_cast<std::size_t>(n));
    } else if (n == 0) {
      return {Status::End, std::exchange(buffer_, {})};
    } else if (errno != EINTR) {
      fail_data("standard input: cannot read: {}", std::generic_category().message(errno));
    }
  }
}

}  // namespace thinkey::cli
