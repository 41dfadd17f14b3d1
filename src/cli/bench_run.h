// What `thinkey bench` measures: prefill of prompts of chosen lengths and decode after them, per cache
// spec, with the bytes and operations each has to move and do.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "model/work.h"
#include "thinkey/cache_spec.h"
#include "thinkey/model.h"

namespace thinkey::cli {

struct BenchSettings {
  std::vector<std::size_t> prompts;  // tokens; 0: decode from an empty context
  std::vector<CacheSpec> specs;
  std::vector<std::size_t> batches;  // sequences decoded in one step
  std::size_t generate = 32;         // steps timed
  std::size_t repeats = 1;           // prefills timed, the median counts
  bool together = false;             // one prefill serves all specs; its time is every spec's
};

// Bytes beside the weights. The first four are the allocators' counts, the last is the kernel's.
struct BenchMemory {
  std::size_t hidden_states = 0, layer_kv = 0, scratch = 0;
  std::size_t cache = 0;     // after the prompt
  std::size_t resident = 0;  // most resident memory during the prefill that no file backs
};

struct PrefillFigures {
  std::string cache;
  std::size_t tokens = 0;
  double seconds = 0.0;
  PrefillOperations operations;
  BenchMemory memory;
};

struct DecodeFigures {
  std::string cache;
  std::size_t depth = 0;  // tokens seen before
  std::size_t batch = 1;
  double seconds = 0.0;        // of one step, median
  double empty_seconds = 0.0;  // of one sequence's step in an empty context, measured by turns with it
  double read_bytes_per_second = 0.0;  // of plain reads of memory, measured by turns with it, median
  std::size_t bytes = 0;               // weights and caches that one step reads
  std::size_t cache_bytes = 0;         // of one sequence
};

struct BenchFigures {
  std::vector<PrefillFigures> prefill;
  std::vector<DecodeFigures> decode;
};

// `tell` hears what is being measured next.
[[nodiscard]] BenchFigures run_bench(const std::shared_ptr<const Model>& model, const BenchSettings& settings,
                                     const std::function<void(const std::string&)>& tell);

}  // namespace thinkey::cli
