// What a Model holds; for the floors that run it.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>

#include "engine/chat_renderer.h"
#include "formats/model_file.h"
#include "model/forward.h"
#include "model/spec.h"
#include "model/weights.h"
#include "thinkey/model.h"
#include "tokenizer/tokenizer.h"

namespace thinkey {

struct Model::Impl {
  std::unique_ptr<ModelFile> file;       // keeps the mapped weights alive
  std::unique_ptr<Tokenizer> tokenizer;  // null when the file has none
  std::unique_ptr<ChatRenderer> chat;    // of the file's chat templates
  ModelSpec spec;
  Weights weights;
  std::unique_ptr<Backend> backend;
  bool check_finite = false;
  ModelInfo info;

  [[nodiscard]] Decoder decoder() const noexcept {
    return {.network = weights.network(), .backend = *backend, .check_finite = check_finite};
  }
  // Tells models apart: a hash of the whole spec, of the tokenizer's tables and of every tensor's name, type,
  // shape and bytes. A saved cache and a result file carry it. Reads the whole file the first time.
  [[nodiscard]] std::uint64_t fingerprint() const;
  // Error(Data) when there is none.
  [[nodiscard]] const Tokenizer& need_tokenizer() const;

 private:
  mutable std::once_flag fingerprinted_;
  mutable std::uint64_t fingerprint_ = 0;
};

struct ModelAccess {
  [[nodiscard]] static const Model::Impl& impl(const Model& model) noexcept { return *model.impl_; }
};

}  // namespace thinkey
