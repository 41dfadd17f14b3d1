// Saved caches with a right checksum: what is loaded can be attended to, appended to, evicted from and saved
// again.
#define XXH_INLINE_ALL  // as the library does
#include <xxhash.h>

#include <cstring>
#include <vector>

#include "base/parallel.h"
#include "cache/cache_file.h"
#include "cache/layer_cache.h"
#include "fuzz_input.h"

namespace thinkey::fuzz {
namespace {

const CacheShape kShapes[] = {CacheShape::uniform(1, {2, 1, 16}), CacheShape::uniform(2, {4, 2, 48}),
                              CacheShape::uniform(1, {3, 1, 40, 20}), CacheShape::uniform(1, {8, 1, 64})};
constexpr std::uint64_t kFingerprint = 7;

// magic, version, fingerprint, the input, checksum.
std::string file_of(std::span<const std::uint8_t> content) {
  std::string bytes = "THNKYKV1";
  const auto add = [&](const auto& x) { bytes.append(reinterpret_cast<const char*>(&x), sizeof(x)); };
  add(kCacheFileVersion);
  add(kFingerprint);
  bytes.append(reinterpret_cast<const char*>(content.data()), content.size());
  const std::uint64_t digest = XXH3_64bits(bytes.data(), bytes.size());
  add(digest);
  return bytes;
}

void use(SequenceCache& cache) {
  const CacheShape& shape = cache.shape();
  const std::size_t kv = shape.kv_heads() * shape.head_dim();
  const std::size_t q = shape.query_heads() * shape.head_dim();
  std::vector<float> row(std::max(kv, q));
  for (std::size_t i = 0; i < row.size(); ++i) row[i] = static_cast<float>(i % 13) * 0.25F - 1.5F;
  std::vector<float> out(q);
  for (int step = 0; step < 3; ++step) {
    for (std::size_t l = 0; l < shape.layers.size(); ++l) {
      const std::int64_t position = cache.next_position(l);
      if (position + 1 >= (std::int64_t{1} << 31))
        return;  // a session refuses what its context does not hold
      cache.append(l, 1, row.data(), row.data(), kv);
      cache.attend(l, 1, position, row.data(), out.data());
      cache.renew(l, 1, position, row.data(), false);
    }
  }
}

}  // namespace
}  // namespace thinkey::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace thinkey;
  fuzz::use_one_thread();
  if (size < 1 || size > (std::size_t{1} << 16U)) return 0;
  const CacheShape& shape = fuzz::kShapes[data[0] % std::size(fuzz::kShapes)];
  const fuzz::MemoryFile file(fuzz::file_of({data + 1, size - 1}));
  fuzz::accepted([&] {
    AllocationCounter counter;
    LoadedCache cache = load_cache(file.path(), shape, fuzz::kFingerprint, &counter);
    FUZZ_REQUIRE(cache.cache.report().bytes == counter.live());
    FUZZ_REQUIRE(counter.live() <= 4 * size + (std::size_t{1} << 16U));  // a file decides no more than it has
    fuzz::use(cache.cache);
  });
  return 0;
}
