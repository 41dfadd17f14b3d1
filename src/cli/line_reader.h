// Lines from a terminal or a pipe; unlike std::getline it comes back when Ctrl-C is pressed.
#pragma once

#include <cstdint>
#include <string>

namespace thinkey::cli {

class LineReader {
 public:
  enum class Status : std::uint8_t { Line, End, Interrupted };
  struct Result {
    Status status = Status::Line;
    std::string line;  // without its newline; at the end, what was left
  };

  explicit LineReader(int descriptor) : descriptor_(descriptor) {}

  // Error(Data) when reading fails or a line is longer than 64 MiB. What was typed before an interrupt is
  // dropped.
  [[nodiscard]] Result read();

 private:
  int descriptor_;
  std::string buffer_;
};

}  // namespace thinkey::cli
