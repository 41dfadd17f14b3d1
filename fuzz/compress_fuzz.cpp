// `compress` inputs. A whole file as it comes, or one built from a few numbers: shapes that do or nearly do
// fit together, and elements of every kind, under any spec.
#include <algorithm>
#include <array>
#include <cstring>

#include "base/parallel.h"
#include "cli/compress_layer.h"
#include "fuzz_input.h"

namespace thinkey::fuzz {
namespace {

// A safetensors file of q, k, v and perhaps decode_q whose elements repeat the input's bytes.
std::string built(Numbers& in) {
  // Small, since the work grows with all of them; more tokens than a block has, for two blocks.
  std::size_t kv_heads = in.within(1, 2);
  std::size_t heads = kv_heads * in.within(1, 3) + (in.byte() == 7 ? 1 : 0);
  std::size_t tokens = in.within(1, 40);
  const std::uint8_t wide = in.byte();
  const std::size_t dim = wide < 8 ? 512 : wide < 10 ? 520 : wide == 10 ? 4096 : 8 * (1 + wide % 10);
  if (dim > 80) {  // the width is what is tried, not the work it makes
    kv_heads = heads = 1;
    tokens = std::min<std::size_t>(tokens, 8);
  }
  const bool decodes = in.byte() % 2 == 0;
  const bool halves = in.byte() % 4 == 0;
  const std::size_t element = halves ? 2 : 4;
  std::string header = "{";
  std::size_t at = 0;
  const auto tensor = [&](const char* name, std::size_t first, std::size_t second) {
    const std::size_t n = first * (second == 0 ? 1 : second) * dim * element;
    header += (at == 0 ? "\"" : ",\"") + std::string(name) + R"(":{"dtype":")" + (halves ? "F16" : "F32") +
              R"(","shape":[)" + std::to_string(first) + (second == 0 ? "" : "," + std::to_string(second)) +
              "," + std::to_string(dim) + R"(],"data_offsets":[)" + std::to_string(at) + "," +
              std::to_string(at + n) + "]}";
    at += n;
  };
  tensor("q", heads, tokens);
  tensor("k", kv_heads, tokens);
  tensor("v", kv_heads, tokens);
  if (decodes) tensor("decode_q", heads, 0);
  header += "}";
  while (header.size() % 8 != 0) header += ' ';
  const std::uint64_t length = header.size();
  std::string bytes(reinterpret_cast<const char*>(&length), sizeof(length));
  bytes += header;
  const auto rest = in.rest();
  std::string data(at, '\0');
  if (!rest.empty()) {
    for (std::size_t i = 0; i < at; ++i)
      data[i] = static_cast<char>(rest[(i + i / rest.size() % 4 * 4) % rest.size()]);
  }
  return bytes + data;
}

}  // namespace
}  // namespace thinkey::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace thinkey;
  fuzz::use_one_thread();
  if (size < 2 || size > (std::size_t{1} << 16U)) return 0;
  fuzz::Numbers in(data, size);
  const bool whole_file = in.byte() % 8 == 0;
  const std::string text = in.line();
  fuzz::accepted([&] {
    const CacheSpec spec = CacheSpec::parse(text);
    const auto rest = in.rest();
    const fuzz::MemoryFile file(whole_file ? std::string(fuzz::text_of(rest.data(), rest.size()))
                                           : fuzz::built(in));
    const cli::DumpedLayer layer = cli::read_layer(file.path());
    // Minutes, not faults: sizes a fuzzer needs not try.
    if (layer.tokens * layer.query_heads * layer.head_dim > (1 << 15)) return;
    const cli::CompressedLayer result = cli::compress(layer, spec);
    FUZZ_REQUIRE(result.budget >= 1 && result.budget <= layer.tokens);
    FUZZ_REQUIRE(result.kept_tokens.size() == static_cast<std::size_t>(result.budget * layer.kv_heads));
  });
  return 0;
}
