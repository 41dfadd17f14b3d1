// What a Model holds; for the floors that run it.
#pragma once

#include <memory>

#include "formats/model_file.h"
#include "model/decoder.h"
#include "model/weights.h"
#include "thinkey/model.h"
#include "tokenizer/tokenizer.h"

namespace thinkey {

struct Model::Impl {
  std::unique_ptr<ModelFile> file;       // keeps the mapped weights alive
  std::unique_ptr<Tokenizer> tokenizer;  // null when the file has none
  Weights weights;
  Precision precision = Precision::F32;
  ModelInfo info;

  [[nodiscard]] const Config& config() const noexcept { return file->hyperparameters(); }
  [[nodiscard]] Decoder decoder() const noexcept {
    return {.config = config(), .weights = weights, .precision = precision};
  }
  // Error(Data) when there is none.
  [[nodiscard]] const Tokenizer& need_tokenizer() const;
};

}  // namespace thinkey
