#define XXH_INLINE_ALL
#include "engine/fingerprint.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "base/parallel.h"

namespace thinkey {
namespace {

// Text with its length, so that no two lists read the same.
void put(std::string& out, std::string_view text) {
  out += fmt::format("{}:", text.size());
  out += text;
}

std::string tokenizer_text(const TokenizerData& t) {
  std::string out = fmt::format("{} {} {} {} {} {} {} {} {} {} {}\n", static_cast<int>(t.model), t.bos, t.eos,
                                t.unknown, t.add_bos, t.add_eos, t.ignore_merges, t.byte_fallback,
                                t.fuse_unknown, t.joins_with_spaces, t.restarts_after_added);
  put(out, t.subword_prefix);
  put(out, t.word_suffix);
  for (const NormalizerStep& step : t.normalizers) {
    out += fmt::format("{} {} {} ", static_cast<int>(step.kind), step.left, step.right);
    put(out, step.pattern);
    put(out, step.content);
  }
  for (const SplitStep& step : t.splits) {
    out += fmt::format("{} {} {} {} ", static_cast<int>(step.kind), static_cast<int>(step.behavior),
                       step.invert, static_cast<int>(step.prepend));
    put(out, step.pattern);
    put(out, step.mark);
  }
  for (const AddedToken& token : t.added) {
    out += fmt::format("{} {} {} {} {} ", token.id, token.single_word, token.lstrip, token.rstrip,
                       token.normalized);
  }
  for (const std::string& token : t.tokens) put(out, token);
  for (const TokenType type : t.types) out += static_cast<char>(type);
  for (const double score : t.scores) out += fmt::format("{} ", score);
  for (const auto& [left, right] : t.merges) {
    put(out, left);
    put(out, right);
  }
  return out + fmt::format("{}", fmt::join(t.end_of_generation, " "));
}

}  // namespace

std::uint64_t fingerprint(const ModelFile& file, const ModelSpec& spec) {
  // Pieces of the tensors are hashed side by side, and their hashes in order.
  constexpr std::size_t kPiece = std::size_t{16} << 20U;
  struct Piece {
    const std::byte* data;
    std::size_t bytes;
  };
  std::string text = spec.fingerprint_text() + tokenizer_text(file.tokenizer());
  std::vector<Piece> pieces;
  for (const Tensor& tensor : file.tensors()) {
    put(text, tensor.name);
    text +=
        fmt::format("{} {} {} {}\n", static_cast<int>(tensor.type), tensor.planes, tensor.rows, tensor.cols);
    for (std::size_t at = 0; at < tensor.bytes; at += kPiece) {
      pieces.push_back({tensor.data + at, std::min(kPiece, tensor.bytes - at)});
    }
  }
  std::vector<std::uint64_t> hashes(pieces.size());
  parallel_for(pieces.size(),
               [&](std::size_t i) { hashes[i] = XXH3_64bits(pieces[i].data, pieces[i].bytes); });
  hashes.push_back(XXH3_64bits(text.data(), text.size()));
  return XXH3_64bits(hashes.data(), hashes.size() * sizeof(std::uint64_t));
}

}  // namespace thinkey
