// A sequence's compressed cache on disk, so that a long document is prefilled once.
//
//   "THNKYKV1", version u32, then the payload, then XXH3-64 of everything before.
//   payload: model fingerprint u64, caller's bytes, canonical spec, shape, layers (see the .cpp)
//
// Numbers are little endian; blocks are stored as they lie in memory.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

#include "cache/sequence_cache.h"

namespace thinkey {

inline constexpr std::uint32_t kCacheFileVersion = 8;

// Replaces `path` by a file that holds the cache, or leaves it as it is: atomic. `fingerprint` says
// which model the cache belongs to; `attachment` is given back by load_cache(). Throws Error(Data).
void save_cache(const std::filesystem::path& path, const SequenceCache& cache, std::uint64_t fingerprint,
                std::span<const std::byte> attachment);

// What a cache file says of itself, without looking at the cache; nothing is checked that load_cache() will.
struct CacheFileSummary {
  std::uint64_t fingerprint = 0;
  std::vector<std::byte> attachment;
  CacheSpec spec;
};
// Error(Data) for what is no cache file of this version.
[[nodiscard]] CacheFileSummary summarize_cache(const std::filesystem::path& path);

struct LoadedCache {
  SequenceCache cache;
  std::vector<std::byte> attachment;
};

// Throws Error(Data) for a file that is damaged, of another version, of another model (fingerprint or
// shape) or inconsistent in any way.
[[nodiscard]] LoadedCache load_cache(const std::filesystem::path& path, const CacheShape& shape,
                                     std::uint64_t fingerprint, AllocationCounter* counter);

}  // namespace thinkey
