// Standard output whose failures are noticed: a full disk or a closed pipe is an error, not silence.
#pragma once

#include <fmt/format.h>

#include <filesystem>
#include <string>
#include <string_view>
#include <utility>

namespace thinkey::cli {

// Buffered text to standard output. Error(Data) with the system's reason when it cannot be written.
void write_output(std::string_view text);

// Hands everything written so far to the system; the same error.
void flush_output();

template <typename... Args>
void print_output(fmt::format_string<Args...> format, Args&&... args) {
  write_output(fmt::format(format, std::forward<Args>(args)...));
}

// A message to standard error; failures there have nobody to be told to.
void write_message(std::string_view text);

template <typename... Args>
void print_message(fmt::format_string<Args...> format, Args&&... args) {
  write_message(fmt::format(format, std::forward<Args>(args)...));
}

// `text` with line breaks and other control characters as spaces: one line whatever the input held.
[[nodiscard]] std::string one_line(std::string_view text);

// Checks, before hours of work, that a file can be written at `path`: Error(Data) when its directory
// is missing or not writable, or `path` is something other than a regular file (which replacing it
// by a finished file would destroy). `option`: what names the file on the command line.
void require_writable(const std::filesystem::path& path, std::string_view option = "-o");

}  // namespace thinkey::cli
