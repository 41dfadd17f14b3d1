// How a word becomes ids: one class per TokenizerModel.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "tokenizer/merge_symbols.h"
#include "tokenizer/vocabulary.h"

namespace thinkey {

class WordModel {
 public:
  virtual ~WordModel() = default;

  // Appends the ids of `word`, well-formed and not empty. The same word always gives the same ids.
  virtual void encode(std::string_view word, MergeScratch& scratch, std::vector<std::int32_t>& ids) const = 0;

  // The model that vocabulary.data() asks for; `bytes`: words are bytes that stand for characters of GPT-2's
  // alphabet. The vocabulary must outlive it. Throws Error(Data) when the tables do not fit the model.
  [[nodiscard]] static std::unique_ptr<const WordModel> create(const Vocabulary& vocabulary, bool bytes);

 protected:
  WordModel() = default;
  WordModel(const WordModel&) = default;
  WordModel& operator=(const WordModel&) = default;
};

[[nodiscard]] std::unique_ptr<const WordModel> make_byte_pair_model(const Vocabulary& vocabulary, bool bytes);
[[nodiscard]] std::unique_ptr<const WordModel> make_scored_pair_model(const Vocabulary& vocabulary);
[[nodiscard]] std::unique_ptr<const WordModel> make_unigram_model(const Vocabulary& vocabulary);

}  // namespace thinkey
