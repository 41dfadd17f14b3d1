// What an evaluation consists of: samples, cache specs, and one record per pair of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "thinkey/cache_spec.h"

namespace thinkey::eval {

// Group labels in order, such as {"length", "4096"}, {"depth", "50"}: what tables and figures group by.
using Labels = std::vector<std::pair<std::string, std::string>>;

// What is known of a sample before any text is made: enough to see that a resumed run has it already.
struct SampleKey {
  std::string id;  // unique within the run
  Labels labels;
};

// What one cache did on one sample; one line of the result file.
struct Record {
  std::string sample;  // SampleKey::id
  std::string cache;   // canonical spec
  Labels labels;
  std::vector<std::pair<std::string, double>> values;  // "score", "cache_bytes", "full_bytes", ...
  std::string prediction;                              // what was generated, if anything

  [[nodiscard]] bool has(std::string_view name) const;
  [[nodiscard]] double value(std::string_view name) const;            // NaN when there is none
  [[nodiscard]] std::string_view label(std::string_view name) const;  // "" when there is none
};

// The sample cannot be measured (too long for the context, ...). The run reports it, leaves it out and goes
// on; nothing is recorded, so a later run under better circumstances tries it again.
class SampleSkipped : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// How a run talks to whoever started it. All may be empty.
struct Hooks {
  // Called often; ends the run by throwing.
  std::function<void()> checkpoint;
  // Work done of the current sample in [0, 1].
  std::function<void(double)> sample_progress;
  // Samples finished of all, just before the next one starts and at the end; `resumed` of those done were
  // found in the result file.
  std::function<void(std::size_t done, std::size_t all, std::size_t resumed)> run_progress;
  // One line about something unusual: a skipped sample, a torn line that is done again.
  std::function<void(const std::string&)> warn;
};

// Takes the record of specs[spec]; sample, cache and labels are filled in by the run.
using Emit = std::function<void(std::size_t spec, Record record)>;

// Measures one sample under several specs, and emits each spec's record as soon as it is complete. May throw
// SampleSkipped; any other exception ends the run.
using Measure = std::function<void(std::size_t sample, std::span<const CacheSpec> specs, const Hooks& hooks,
                                   const Emit& emit)>;

struct Task {
  std::string name;      // "needle"
  std::string settings;  // everything but model and specs that decides a result, as JSON text
  std::vector<SampleKey> samples;
  Measure measure;
};

}  // namespace thinkey::eval
