// A GGUF file: header, metadata, tensor directory and data, vocabulary; or several parts of a split one,
// "SPLT" and then for each a length of 4 bytes and the file.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

#include "formats/gguf.h"
#include "fuzz/gguf_mutator.h"
#include "fuzz/model_use.h"
#include "fuzz/temporary_files.h"
#include "thinkey/error.h"

namespace thinkey {
namespace {

constexpr std::size_t kMostParts = 3;

std::string part_name(std::size_t part, std::size_t parts) {
  return parts == 1 ? "whole.gguf"
                    : "m-0000" + std::to_string(part + 1) + "-of-0000" + std::to_string(parts) + ".gguf";
}

}  // namespace
}  // namespace thinkey

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace thinkey;  // NOLINT(google-build-using-namespace)
  static const fuzz::TemporaryFiles files;
  std::vector<std::pair<const std::uint8_t*, std::size_t>> parts;
  if (size >= 4 && std::memcmp(data, "SPLT", 4) == 0) {
    std::size_t at = 4;
    while (size - at >= 4 && parts.size() < kMostParts) {
      std::uint32_t length;
      std::memcpy(&length, data + at, sizeof(length));
      at += 4;
      const std::size_t taken = std::min<std::size_t>(length, size - at);
      parts.emplace_back(data + at, taken);
      at += taken;
    }
  }
  if (parts.empty()) parts.emplace_back(data, size);
  std::filesystem::path first;
  for (std::size_t i = parts.size(); i-- > 0;) {
    first = files.write(part_name(i, parts.size()), parts[i].first, parts[i].second);
  }
  try {
    fuzz::use(*open_model_file(first));
  } catch (const Error&) {
  }
  try {
    static_cast<void>(read_gguf_vocabulary(first));
  } catch (const Error&) {
  }
  for (std::size_t i = 0; i < parts.size(); ++i) files.remove(part_name(i, parts.size()));
  return 0;
}

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max,
                                               unsigned seed) {
  using namespace thinkey;  // NOLINT(google-build-using-namespace)
  auto pieces = seed % 4 == 0 ? std::nullopt : fuzz::GgufPieceReader(data, size).read();
  if (!pieces) return LLVMFuzzerMutate(data, size, max);
  fuzz::GgufMutation(seed).apply(*pieces);
  const std::string bytes = pieces->build();
  if (bytes.size() > max) return LLVMFuzzerMutate(data, size, max);
  std::memcpy(data, bytes.data(), bytes.size());
  return bytes.size();
}
