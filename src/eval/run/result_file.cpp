#include "eval/run/result_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <system_error>

#include "base/fail.h"
#include "eval/needle/haystack.h"
#include "formats/json_bounds.h"
#include "formats/printable.h"
#include "formats/text_file.h"

namespace thinkey::eval {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kVersion = 2;  // of what records mean; 1: think:0.4 pruned channels whole

Json header_json(const RunIdentity& identity) {
  return {{"thinkey_results", kVersion},
          {"task", identity.task},
          {"model", identity.model},
          {"weights", identity.weights},
          {"settings", Json::parse(identity.settings)}};
}

Json record_json(const Record& record) {
  Json json = {{"sample", record.sample}, {"cache", record.cache}};
  json["labels"] = Json::object();
  for (const auto& [name, value] : record.labels) json["labels"][name] = value;
  json["values"] = Json::object();
  for (const auto& [name, value] : record.values) json["values"][name] = value;
  if (!record.prediction.empty()) json["prediction"] = record.prediction;
  return json;
}

std::string line_of(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

// Throws nlohmann's exceptions when it is not a record.
Record record_of(const Json& json) {
  Record record{json.at("sample"), json.at("cache"), {}, {}, json.value("prediction", "")};
  for (const auto& [name, value] : json.at("labels").items()) record.labels.emplace_back(name, value);
  for (const auto& [name, value] : json.at("values").items()) {
    // Numbers that JSON cannot hold were written as null.
    record.values.emplace_back(
        name, value.is_null() ? std::numeric_limits<double>::quiet_NaN() : value.get<double>());
  }
  return record;
}

std::string reason(int error) { return std::generic_category().message(error); }

// A value as text, however strange its bytes and long.
std::string shown(const Json& value) {
  constexpr std::size_t kMost = 120;
  return printable(value.dump(-1, ' ', true, Json::error_handler_t::replace), kMost);
}

// What differs first between the file's settings and ours.
std::string difference(const Json& theirs, const Json& ours) {
  for (const auto& [key, value] : ours.items()) {
    if (!theirs.contains(key)) return fmt::format("\"{}\" is not in it", key);
    if (theirs[key] != value) {
      return fmt::format("\"{}\" was {}, is {}", key, shown(theirs[key]), shown(value));
    }
  }
  return "it has settings this version does not know";
}

}  // namespace

bool Record::has(std::string_view name) const {
  return std::any_of(values.begin(), values.end(), [&](const auto& v) { return v.first == name; });
}

double Record::value(std::string_view name) const {
  for (const auto& [key, value] : values) {
    if (key == name) return value;
  }
  return std::numeric_limits<double>::quiet_NaN();
}

std::string_view Record::label(std::string_view name) const {
  for (const auto& [key, value] : labels) {
    if (key == name) return value;
  }
  return {};
}

ResultFile::ResultFile(const std::filesystem::path& path, const RunIdentity& identity, bool fresh,
                       const Hooks& hooks)
    : path_(path) {
  if (path.empty()) return;
  if (path.has_parent_path()) {
    std::error_code error;
    std::filesystem::create_directories(path.parent_path(),
                                        error);  // a failure shows when the file is opened
  }
  fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (fd_ < 0) fail_data("{}: cannot open the result file: {}", path.string(), reason(errno));
  try {
    if (::flock(fd_, LOCK_EX | LOCK_NB) != 0) {
      fail_data("{}: another run is writing to it; wait for it or name another --results file",
                path.string());
    }
    if (!std::filesystem::is_regular_file(path)) {
      fail_data("{}: not a regular file; results must be readable again", path.string());
    }
    const std::string bytes = read_file(path);
    if (!fresh) {
      read(bytes, identity, hooks);
    } else if (!bytes.empty() &&
               bytes.substr(0, bytes.find('\n')).find("thinkey_results") == std::string::npos) {
      fail_data("{}: line 1: not a result file of thinkey, --fresh would destroy it; name another",
                path.string());
    }
    if (::ftruncate(fd_, static_cast<off_t>(size_)) != 0 ||
        ::lseek(fd_, static_cast<off_t>(size_), SEEK_SET) < 0) {
      fail_data("{}: cannot write: {}", path.string(), reason(errno));
    }
    if (size_ == 0) write_line(line_of(header_json(identity)));
  } catch (...) {
    ::close(fd_);
    throw;
  }
}

ResultFile::~ResultFile() {
  if (fd_ >= 0) ::close(fd_);
}

void ResultFile::read(const std::string& bytes, const RunIdentity& identity, const Hooks& hooks) {
  const std::string name = path_.string();
  std::size_t number = 0;
  for (std::size_t at = 0; at < bytes.size();) {
    ++number;
    const std::size_t end = bytes.find('\n', at);
    const bool last = end == std::string::npos || end + 1 == bytes.size();
    const std::string_view line(bytes.data() + at, std::min(end, bytes.size()) - at);
    if (const std::string excess = json_excess(line); !excess.empty()) {
      fail_data("{}: line {}: not a result of thinkey: {}; name another --results file", name, number,
                excess);
    }
    const Json json = Json::parse(line, nullptr, false);
    // A line without its end is torn even if what is there parses: the end is written with it.
    if (end == std::string::npos || (last && number > 1 && json.is_discarded())) {
      if (hooks.warn) {
        hooks.warn(fmt::format(
            "{}: line {}: incomplete, an earlier run was interrupted there; it is done again", name, number));
      }
      return;
    }
    if (number == 1) {
      if (!json.is_object() || !json.contains("thinkey_results")) {
        fail_data("{}: line 1: not a result file of thinkey; name another --results file", name);
      }
      const Json ours = header_json(identity);
      for (const char* key : {"thinkey_results", "task", "weights", "settings"}) {
        if (json.contains(key) && json[key] == ours[key]) continue;
        const std::string what =
            key == std::string_view("settings") && json.contains(key) && json[key].is_object()
                ? difference(json[key], ours[key])
                : fmt::format("\"{}\" differs", key == std::string_view("weights") ? "model" : key);
        fail_data(
            "{}: line 1: results of another run: {}; use --fresh to start over, or another --results file",
            name, what);
      }
    } else {
      try {
        remember(record_of(json));
      } catch (const nlohmann::json::exception&) {
        fail_data("{}: line {}: not a result record; remove the line and its pair is done again", name,
                  number);
      } catch (const Error& error) {
        fail_data("{}: line {}: {}", name, number, error.what());
      }
    }
    at = end + 1;
    size_ = at;
  }
}

void ResultFile::remember(Record record) {
  if (!done_.emplace(record.sample, record.cache).second) {
    fail_data("sample \"{}\" under \"{}\" occurs a second time", record.sample, record.cache);
  }
  records_.push_back(std::move(record));
}

bool ResultFile::has(const std::string& sample, const std::string& cache) const {
  return done_.contains({sample, cache});
}

void ResultFile::append(Record record) {
  const std::string line = fd_ >= 0 ? line_of(record_json(record)) : std::string();
  remember(std::move(record));
  if (fd_ >= 0) write_line(line);
}

void ResultFile::write_line(const std::string& line) {
  std::size_t written = 0;
  while (written < line.size()) {
    const ssize_t n = ::write(fd_, line.data() + written, line.size() - written);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      const int error = n < 0 ? errno : ENOSPC;
      // If even this fails, the next run finds a torn line.
      static_cast<void>(::ftruncate(fd_, static_cast<off_t>(size_)) == 0 &&
                        ::lseek(fd_, static_cast<off_t>(size_), SEEK_SET) >= 0);
      fail_data("{}: cannot write: {}; what is in it is kept, run again to go on", path_.string(),
                reason(error));
    }
    written += static_cast<std::size_t>(n);
  }
  size_ += line.size();
}

void ResultFile::sync() {
  if (fd_ >= 0) static_cast<void>(::fdatasync(fd_));
}

std::filesystem::path default_result_path(const std::filesystem::path& directory,
                                          const RunIdentity& identity) {
  const std::string hash =
      text_fingerprint(identity.task + "\n" + identity.weights + "\n" + identity.settings);
  std::string model = identity.model.empty() ? "model" : identity.model;
  for (char& c : model) {
    const bool plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '.';
    if (!plain) c = '-';
  }
  return directory / fmt::format("{}-{}-{}.jsonl", identity.task, model, hash.substr(0, 8));
}

}  // namespace thinkey::eval
