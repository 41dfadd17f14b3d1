// Writes the seeds of the targets whose inputs are not text: make_fuzz_seeds fuzz/seeds
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "base/parallel.h"
#include "cache/cache_file.h"
#include "cache/layer_cache.h"
#include "cache/random_prompt.h"

namespace {

using namespace thinkey;

void write(const std::filesystem::path& path, const std::string& bytes) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << bytes;
}

// As saved_cache_fuzz.cpp has them.
const CacheShape kShapes[] = {CacheShape::uniform(1, {2, 1, 16}), CacheShape::uniform(2, {4, 2, 48}),
                              CacheShape::uniform(1, {3, 1, 40, 20}), CacheShape::uniform(1, {8, 1, 64})};

void saved_caches(const std::filesystem::path& directory) {
  const char* specs[] = {"full",
                         "kivi:8,residual=0",
                         "kivi:4,residual=0",
                         "kivi:2,residual=0",
                         "think:0.5,form=paper",
                         "think:0.6,bias+kivi:4,residual=0",
                         "think:keys=0.5,values=0.5,adaptive,form=paper+kivi:2,residual=0",
                         "snapkv:40,window=8,every=4+think:0.5,recent=8,form=paper",
                         "streaming:24,every=2+kivi:8,residual=32",
                         "turbo:keys=4,values=3,sinks=2,recent=8",
                         "snapkv:40,window=8,every=4+think:0.5,form=paper+turbo:2,sinks=0,recent=0"};
  int number = 0;
  for (std::size_t s = 0; s < std::size(kShapes); ++s) {
    for (const char* text : specs) {
      const CacheShape& shape = kShapes[s];
      test::RandomPrompt prompt(shape.layers[0], 70, 5);
      SequenceCache cache(shape, CacheSpec::parse(text));
      const std::vector<float> row = prompt.normal(shape.query_heads() * shape.head_dim());
      for (std::size_t l = 0; l < shape.layers.size(); ++l) {
        cache.compress_prompt(l, prompt.view());
        for (int i = 0; i < 6; ++i) {
          const std::int64_t position = cache.next_position(l);
          cache.append(l, 1, row.data(), row.data(), shape.kv_heads() * shape.head_dim());
          cache.renew(l, 1, position, row.data(), false);
        }
      }
      const std::filesystem::path temporary = directory / "whole";
      std::filesystem::create_directories(directory);
      save_cache(temporary, cache, 7, {});
      std::ifstream in(temporary, std::ios::binary);
      const std::string bytes{std::istreambuf_iterator<char>(in), {}};
      std::filesystem::remove(temporary);
      // Without magic, version and fingerprint in front and the checksum behind.
      write(directory / ("shape" + std::to_string(s) + "-" + std::to_string(number++)),
            std::string(1, static_cast<char>(s)) + bytes.substr(20, bytes.size() - 28));
    }
  }
}

void compress_inputs(const std::filesystem::path& directory) {
  const char* specs[] = {"full",
                         "snapkv:40,window=8+think:0.4",
                         "h2o:33+kivi:4,residual=0",
                         "pyramidkv:50%",
                         "think:0.5,mixed,bias+kivi:2,residual=0",
                         "think:keys=0.3,values=0.7,adaptive",
                         "streaming:25%+kivi:8,group=64",
                         "kivi:4,residual=0"};
  int number = 0;
  for (const char* spec : specs) {
    // kv_heads, group, odd, tokens, width, decodes, halves; then elements.
    std::string bytes = "\x01" + std::string(spec) + "\n";
    bytes += std::string("\x01\x01\x00\x50\x0b\x00\x01", 7);
    for (int i = 0; i < 40; ++i) {
      const float x = static_cast<float>(i * 37 % 19 - 9) * 0.3F;
      bytes.append(reinterpret_cast<const char*>(&x), sizeof(x));
    }
    write(directory / std::to_string(number++), bytes);
  }
  // Head dimension 4096; the largest finite numbers.
  write(directory / "wide", std::string("\x01"
                                        "full\n\x00\x00\x00\x00\x0a\x00\x01",
                                        14) +
                                std::string(16, '\0'));
  std::string huge =
      "\x01"
      "kivi:4,residual=0\n";
  huge += std::string("\x00\x00\x00\x40\x0b\x00\x01", 7);
  for (const float x : {3.4e38F, -3.4e38F, 0.0F, 1.0F, -1.0F})
    huge.append(reinterpret_cast<const char*>(&x), 4);
  write(directory / "huge", huge);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: make_fuzz_seeds DIRECTORY\n");
    return 2;
  }
  set_threads(1);
  const std::filesystem::path root = argv[1];
  saved_caches(root / "saved_cache");
  compress_inputs(root / "compress");
  return 0;
}
