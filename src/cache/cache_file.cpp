#include "cache/cache_file.h"

#include <array>
#include <string>
#include <utility>
#include <vector>

#include "base/byte_stream.h"
#include "base/mapped_file.h"

namespace thinkey {
namespace {

constexpr std::array<char, 8> kMagic = {'T', 'H', 'N', 'K', 'Y', 'K', 'V', '1'};

// What two shapes must share. Scale, soft cap and sinks are the model's: the fingerprint's matter.
std::vector<std::uint64_t> numbers_of(const CacheShape& shape) {
  std::vector<std::uint64_t> numbers = {shape.query_heads(), shape.kv_heads(), shape.head_dim()};
  for (const AttentionShape& layer : shape.layers) numbers.push_back(layer.sliding_window);
  return numbers;
}

}  // namespace

void save_cache(const std::filesystem::path& path, const SequenceCache& cache, std::uint64_t fingerprint,
                std::span<const std::byte> attachment) {
  AtomicFile file(path);
  ByteWriter out(file);
  out.bytes(std::as_bytes(std::span(kMagic)));
  out.value(kCacheFileVersion);
  out.value(fingerprint);
  out.array(attachment);
  const std::string spec = cache.spec().to_string();
  out.array(std::span<const char>(spec));
  const CacheShape& shape = cache.shape();
  out.array(std::span<const std::uint64_t>(numbers_of(shape)));
  for (std::size_t l = 0; l < shape.layers.size(); ++l) cache.layer(l).save(out);
  const std::uint64_t digest = out.digest();
  file.write(std::as_bytes(std::span(&digest, 1)));
  file.commit();
}

namespace {

constexpr std::size_t kDigest = sizeof(std::uint64_t);

// Everything but the checksum, behind magic and version.
ByteReader open_content(std::span<const std::byte> all, const std::string& name) {
  if (all.size() < kMagic.size() || std::memcmp(all.data(), kMagic.data(), kMagic.size()) != 0) {
    fail_data("{}: not a thinkey cache file", name);
  }
  if (all.size() < kMagic.size() + sizeof(kCacheFileVersion) + kDigest) {
    fail_data("{}: damaged cache file: it ends too early; save it again", name);
  }
  ByteReader in(all.first(all.size() - kDigest), name);
  (void)in.bytes(kMagic.size());
  const auto version = in.value<std::uint32_t>();
  if (version != kCacheFileVersion) {
    fail_data("{}: cache file of version {}, this program reads version {}", name, version,
              kCacheFileVersion);
  }
  return in;
}

CacheSpec read_spec(ByteReader& in) {
  const auto text = in.array<char>(4096);
  try {
    return CacheSpec::parse(std::string_view(text.data(), text.size()));
  } catch (const Error&) {
    in.damaged("its cache spec is none");
  }
}

}  // namespace

CacheFileSummary summarize_cache(const std::filesystem::path& path) {
  const MappedFile file(path);
  ByteReader in = open_content(file.bytes(), path.string());
  CacheFileSummary out;
  out.fingerprint = in.value<std::uint64_t>();
  out.attachment = in.array<std::byte>(in.left());
  out.spec = read_spec(in);
  return out;
}

LoadedCache load_cache(const std::filesystem::path& path, const CacheShape& shape, std::uint64_t fingerprint,
                       AllocationCounter* counter) {
  const MappedFile file(path);
  const auto all = file.bytes();
  const std::string name = path.string();
  ByteReader in = open_content(all, name);
  const auto content = all.first(all.size() - kDigest);
  std::uint64_t digest = 0;
  std::memcpy(&digest, all.data() + content.size(), kDigest);
  if (digest != XXH3_64bits(content.data(), content.size())) in.damaged("its checksum does not match");

  if (in.value<std::uint64_t>() != fingerprint) fail_data("{}: the cache belongs to another model", name);
  auto attachment = in.array<std::byte>(in.left());
  const CacheSpec spec = read_spec(in);
  if (in.array<std::uint64_t>(in.left()) != numbers_of(shape)) {
    fail_data("{}: the cache belongs to a model of another shape", name);
  }
  SequenceCache cache(shape, spec, counter);
  cache.restore(in);
  if (!in.at_end()) in.damaged("something follows its end");
  return {std::move(cache), std::move(attachment)};
}

}  // namespace thinkey
