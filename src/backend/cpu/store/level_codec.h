// Blocks' keys and values as levels, written and read back (levels.h; where codes lie: block.h).
#pragma once

#include <cstddef>

#include "backend/cpu/store/block_codec.h"

namespace thinkey {

void encode_level_keys(const KeyRun& run, const StagedBlock& staged, std::byte* block);
void decode_level_keys(const KeyRun& run, const std::byte* block, StagedBlock& staged);
void encode_level_values(const BlockLayout& layout, const StagedBlock& staged, std::byte* block);
void decode_level_values(const BlockLayout& layout, const std::byte* block, StagedBlock& staged);

}  // namespace thinkey
