// A saved cache answers as the one that was saved; a damaged file is refused.
#include "cache/cache_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "base/byte_stream.h"
#include "cache/random_prompt.h"
#include "thinkey/error.h"

namespace thinkey {
namespace {

using test::RandomPrompt;
using ::testing::HasSubstr;

class CacheFile : public ::testing::Test {
 protected:
  void SetUp() override {
    directory_ =
        std::filesystem::temp_directory_path() / ("thinkey-cache-file-" + std::to_string(::getpid()));
    std::filesystem::create_directories(directory_);
    path_ = directory_ / "session.thinkey";
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  [[nodiscard]] std::string content() const {
    std::ifstream in(path_, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  void replace(const std::string& bytes) const { std::ofstream(path_, std::ios::binary) << bytes; }

  std::string error_of(const CacheShape& shape, std::uint64_t fingerprint) const {
    try {
      (void)load_cache(path_, shape, fingerprint, nullptr);
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::Data);
      EXPECT_THAT(e.what(), HasSubstr(path_.string()));
      return e.what();
    }
    return "loaded";
  }

  std::filesystem::path directory_, path_;
};

SequenceCache small_cache(const CacheShape& shape, const char* spec, std::size_t tokens = 150) {
  RandomPrompt prompt(shape.layers[0], tokens, 5);
  SequenceCache cache(shape, CacheSpec::parse(spec));
  for (std::size_t l = 0; l < shape.layers.size(); ++l) cache.compress_prompt(l, prompt.view());
  const std::vector<float> row = prompt.normal(20 * shape.kv_heads() * shape.head_dim());
  const std::vector<float> q = prompt.normal(20 * shape.query_heads() * shape.head_dim());
  for (std::size_t l = 0; l < shape.layers.size(); ++l) {
    cache.append(l, 20, row.data(), row.data(), shape.kv_heads() * shape.head_dim());
    cache.renew(l, 20, static_cast<std::int64_t>(tokens), q.data(), false);
  }
  return cache;
}

TEST_F(CacheFile, RestoredCachesGoOnAsTheOriginal) {
  CacheShape shape = CacheShape::uniform(2, {4, 2, 48});
  shape.layers[1].sliding_window = 40;
  for (const char* spec :
       {"full", "snapkv:64+think:0.4,form=paper", "think:0.6,bias+kivi:4,residual=32",
        "think:0.7,bias,form=paper", "turbo:keys=3,values=2", "turbo:20%", "auto:12%",
        "snapkv:64,every=30+turbo:4,recent=8",
        "snapkv:64,every=30+think:keys=0.4,values=0.3,adaptive,form=paper+kivi:4,residual=0"}) {
    SCOPED_TRACE(spec);
    SequenceCache cache = small_cache(shape, spec);
    const std::vector<std::byte> attachment(77, std::byte{9});
    save_cache(path_, cache, 1234, attachment);
    AllocationCounter counter;
    LoadedCache loaded = load_cache(path_, shape, 1234, &counter);
    EXPECT_EQ(loaded.attachment, attachment);
    EXPECT_EQ(loaded.cache.spec(), cache.spec());
    EXPECT_EQ(loaded.cache.report().bytes, counter.live());

    RandomPrompt random(shape.layers[0], 1, 8);
    std::vector<float> out(4 * 48);
    std::vector<float> again(4 * 48);
    for (int i = 0; i < 80; ++i) {
      const auto row = random.normal(96);
      const auto q = random.normal(192);
      for (std::size_t l = 0; l < shape.layers.size(); ++l) {
        const std::int64_t position = cache.next_position(l);
        ASSERT_EQ(loaded.cache.next_position(l), position);
        for (SequenceCache* c : {&cache, &loaded.cache}) {
          c->append(l, 1, row.data(), row.data(), 96);
          c->attend(l, 1, position, q.data(), c == &cache ? out.data() : again.data());
          c->renew(l, 1, position, q.data(), false);
        }
        ASSERT_EQ(out, again);
      }
    }
  }
}

TEST_F(CacheFile, EmptyCachesToo) {
  const CacheShape shape = CacheShape::uniform(1, {2, 1, 16});
  save_cache(path_, SequenceCache(shape, CacheSpec::parse("think:0.4,form=paper")), 1, {});
  EXPECT_EQ(load_cache(path_, shape, 1, nullptr).cache.next_position(0), 0);
}

TEST_F(CacheFile, DamageIsRefused) {
  const CacheShape shape = CacheShape::uniform(1, {2, 1, 16});
  save_cache(path_, small_cache(shape, "snapkv:40+think:0.5,form=paper+kivi:4,residual=0", 60), 7, {});
  const std::string good = content();
  for (std::size_t n = 0; n < good.size(); n += n < 200 ? 1 : 13) {
    replace(good.substr(0, n));
    EXPECT_NE(error_of(shape, 7), "loaded") << n;
  }
  for (std::size_t i = 0; i < good.size(); i += i < 200 ? 1 : 7) {
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ (1 << (i % 8)));
    replace(bad);
    EXPECT_NE(error_of(shape, 7), "loaded") << i;
  }
  replace(good + "x");
  EXPECT_NE(error_of(shape, 7), "loaded");
  replace(good);
  EXPECT_EQ(error_of(shape, 7), "loaded");
}

// A file whose checksum is right but whose content is not: what a stranger could send.
TEST_F(CacheFile, ForgedContentIsRefusedOrAtLeastCrashesNothing) {
  const CacheShape shape = CacheShape::uniform(1, {2, 1, 16});
  save_cache(path_, small_cache(shape, "snapkv:40,every=30+think:0.5,form=paper", 60), 7, {});
  const std::string good = content();
  std::mt19937_64 random(1);
  const std::vector<float> q(32, 0.5F);
  std::vector<float> out(32);
  for (int i = 0; i < 3000; ++i) {
    std::string bad = good.substr(0, good.size() - 8);
    for (int flips = 0; flips < 3; ++flips) {
      const std::size_t at = 20 + random() % (i % 2 == 0 ? 200 : bad.size() - 20);
      bad[at] = static_cast<char>(random());
    }
    const XXH64_hash_t digest = XXH3_64bits(bad.data(), bad.size());
    bad.append(reinterpret_cast<const char*>(&digest), sizeof(digest));
    replace(bad);
    try {
      LoadedCache loaded = load_cache(path_, shape, 7, nullptr);
      const std::int64_t position = loaded.cache.next_position(0);
      loaded.cache.append(0, 1, q.data(), q.data(), 16);
      loaded.cache.attend(0, 1, position, q.data(), out.data());
      loaded.cache.renew(0, 1, position, q.data(), true);
    } catch (const Error&) {
    }
  }
}

TEST_F(CacheFile, OfAnotherModelIsRefused) {
  const CacheShape shape = CacheShape::uniform(1, {2, 1, 16});
  save_cache(path_, small_cache(shape, "full"), 7, {});
  EXPECT_THAT(error_of(shape, 8), HasSubstr("another model"));
  EXPECT_THAT(error_of(CacheShape::uniform(1, {2, 1, 24}), 7), HasSubstr("another shape"));
  EXPECT_THAT(error_of(CacheShape::uniform(2, {2, 1, 16}), 7), HasSubstr("another shape"));
  EXPECT_THAT(error_of(CacheShape::uniform(1, {2, 1, 16, 64}), 7), HasSubstr("another shape"));
  replace("GGUF, surely not a cache file at all");
  EXPECT_THAT(error_of(shape, 7), HasSubstr("not a thinkey cache file"));
}

TEST_F(CacheFile, AFailedSaveLeavesTheOldFile) {
  const CacheShape shape = CacheShape::uniform(1, {2, 1, 16});
  const SequenceCache cache = small_cache(shape, "full");
  EXPECT_THROW(save_cache(directory_ / "missing" / "x", cache, 7, {}), Error);
  save_cache(path_, cache, 7, {});
  const std::string before = content();
  save_cache(path_, cache, 7, {});
  EXPECT_EQ(content(), before);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(directory_), {}), 1);  // no temporaries left
}

}  // namespace
}  // namespace thinkey
