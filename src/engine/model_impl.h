// What a Model holds; for the floors that run it.
#pragma once

#include <cstdint>
#include <memory>

#include "engine/chat_renderer.h"
#include "formats/model_file.h"
#include "model/decoder.h"
#include "model/weights.h"
#include "thinkey/model.h"
#include "tokenizer/tokenizer.h"

namespace thinkey {

struct Model::Impl {
  std::unique_ptr<ModelFile> file;       // keeps the mapped weights alive
  std::unique_ptr<Tokenizer> tokenizer;  // null when the file has none
  std::unique_ptr<ChatRenderer> chat;    // of the file's chat templates
  Weights weights;
  Precision precision = Precision::F32;
  ActivationPrecision decode_activations = ActivationPrecision::F32;
  ActivationPrecision prefill_activations = ActivationPrecision::F32;
  ModelInfo info;

  [[nodiscard]] const Config& config() const noexcept { return file->hyperparameters(); }
  [[nodiscard]] Decoder decoder() const noexcept {
    return {.config = config(),
            .weights = weights,
            .precision = precision,
            .decode_activations = decode_activations,
            .prefill_activations = prefill_activations};
  }
  // Tells models apart: a hash of the hyperparameters and of every tensor's name, type, shape and first
  // bytes. A saved cache carries it.
  [[nodiscard]] std::uint64_t fingerprint() const;
  // Error(Data) when there is none.
  [[nodiscard]] const Tokenizer& need_tokenizer() const;
};

}  // namespace thinkey
