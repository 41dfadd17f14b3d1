// Which model a saved cache or a result belongs to.
#pragma once

#include <cstdint>

#include "formats/model_file.h"
#include "model/spec.h"

namespace thinkey {

// A hash of everything that decides a model's results: the whole spec, the tokenizer's tables, and every
// tensor's name, type, shape and bytes. Reads the whole file: tens of milliseconds per GB when its pages are
// in memory, in parallel.
[[nodiscard]] std::uint64_t fingerprint(const ModelFile& file, const ModelSpec& spec);

}  // namespace thinkey
