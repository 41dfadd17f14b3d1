// Byte-level BPE (Radford et al. 2019, GPT-2): the text is split by the model's expressions, and in
// each part bytes are merged in the order the merges were learnt.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/merge_table.h"
#include "tokenizer/pre_tokenizer.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/vocabulary.h"

namespace thinkey {

class BytePairTokenizer final : public Tokenizer {
 public:
  // Throws Error(Data) when a merge names unknown pieces or the pre-tokenizer is unknown.
  explicit BytePairTokenizer(std::unique_ptr<const Vocabulary> vocabulary);

 private:
  void encode_stretch(std::string_view text, std::vector<std::int32_t>& ids) const override;
  [[nodiscard]] std::string piece_bytes(std::int32_t id) const override;

  MergeTable merges_;
  PreTokenizer pre_tokenizer_;
  std::array<std::int32_t, 256> byte_ids_{};  // unknown or -1 where the vocabulary lacks the byte
};

}  // namespace thinkey
