// The weights of a Llama-family decoder, bound to a mapped model file.
//
// In the shapes below: d width, H query heads, Hkv KV heads, D head dimension, F FFN width,
// V vocabulary. Linear layers are [out, in].
#pragma once

#include <vector>

#include "base/aligned_buffer.h"
#include "formats/model_file.h"
#include "ops/matrix_view.h"

namespace thinkey {

using Config = Hyperparameters;

struct LayerWeights {
  AlignedBuffer<float> attention_norm;  // [d]
  MatrixView query;                     // [H*D, d]
  MatrixView key;                       // [Hkv*D, d]
  MatrixView value;                     // [Hkv*D, d]
  MatrixView attention_output;          // [d, H*D]
  AlignedBuffer<float> ffn_norm;        // [d]
  MatrixView gate;                      // [F, d]
  MatrixView up;                        // [F, d]
  MatrixView down;                      // [d, F]
};

// Matrices stay where the file is mapped (the ModelFile must outlive them); norms are copied to f32.
struct Weights {
  MatrixView token_embedding;        // [V, d]
  std::vector<LayerWeights> layers;  // [L]
  AlignedBuffer<float> output_norm;  // [d]
  MatrixView output;                 // [V, d]; the token embedding when tied

  Weights() = default;
  explicit Weights(const ModelFile& file);

  // Copies quantized matrices into the order of packed_matrix.h, where the CPU has 8-bit products.
  // Error(Data) when that takes more than `memory` bytes; 0: unknown.
  void repack(std::size_t memory);
  [[nodiscard]] std::size_t repacked_bytes() const noexcept { return repacked_.bytes(); }

  // body(matrix) for each that every token is multiplied by.
  template <typename Body>
  void for_each_matrix(const Body& body) const {
    visit_matrices(*this, body);
  }

 private:
  template <typename Self, typename Body>
  static void visit_matrices(Self& self, const Body& body) {
    for (auto& w : self.layers) {
      for (auto* m : {&w.query, &w.key, &w.value, &w.attention_output, &w.gate, &w.up, &w.down}) body(*m);
    }
    body(self.output);
  }

  AlignedBuffer<std::byte> repacked_;  // one for all, so that small matrices lie in huge pages too
};

}  // namespace thinkey
