// What a Tokenizer is made of.
#pragma once

#include <memory>

#include "tokenizer/added_tokens.h"
#include "tokenizer/normalizer.h"
#include "tokenizer/piece_decoder.h"
#include "tokenizer/pre_tokenizer.h"
#include "tokenizer/space_boundaries.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/vocabulary.h"
#include "tokenizer/word_model.h"

namespace thinkey {

struct Tokenizer::Parts {
  explicit Parts(const TokenizerData& tables);

  Vocabulary vocabulary;
  AddedTokens added;
  Normalizer normalizer;
  PreTokenizer pre_tokenizer;
  SpaceBoundaries boundaries;
  std::unique_ptr<const WordModel> model;
  PieceDecoder decoder;
};

}  // namespace thinkey
