// A tool call as a JSON object, {"name": ..., "arguments": {...}}, read byte by byte.
#pragma once

#include <string>
#include <string_view>

namespace thinkey::server {

class CallScanner {
 public:
  // Takes what belongs to the object; gives how many bytes that were.
  std::size_t push(std::string_view text);

  [[nodiscard]] bool started() const noexcept { return !raw_.empty(); }
  [[nodiscard]] bool done() const noexcept { return done_; }
  // Not a call: no object, or one with other keys.
  [[nodiscard]] bool failed() const noexcept { return failed_; }
  [[nodiscard]] const std::string& name() const noexcept { return name_; }  // empty until it is known
  // The arguments' text that came since the last call; nothing before the name is known.
  [[nodiscard]] std::string take_arguments();
  [[nodiscard]] const std::string& raw() const noexcept { return raw_; }  // everything taken

 private:
  void take(char c);
  void end_string();

  std::string raw_, name_, arguments_;
  std::string string_;  // the string being read, with its quotes
  std::string key_;     // of the value being read
  int depth_ = 0;
  bool in_string_ = false, escaped_ = false, value_ = false;
  bool done_ = false, failed_ = false, has_arguments_ = false;
};

// The rest of a JSON value that begins with a bracket: where it ends.
class ValueScanner {
 public:
  // Bytes of `text` that belong to the value.
  std::size_t push(std::string_view text);
  [[nodiscard]] bool done() const noexcept { return done_; }

 private:
  int depth_ = 0;
  bool in_string_ = false, escaped_ = false, done_ = false;
};

// Where `marker` begins in `text`, or what may be its beginning at the end; npos: nowhere.
[[nodiscard]] std::size_t find_marker(std::string_view text, std::string_view marker, bool& whole);

}  // namespace thinkey::server
