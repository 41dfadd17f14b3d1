// A model file's tensors, bound to its spec: checked against tensor_table.h and brought into the form in
// which a backend runs them (backend/network.h).
#pragma once

#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "backend/network.h"
#include "base/aligned_buffer.h"
#include "formats/model_file.h"
#include "model/spec.h"

namespace thinkey {

// Matrices stay where the file is mapped (the ModelFile must outlive them); norms and biases are copied to
// f32.
class Weights {
 public:
  Weights() = default;
  // Sets what the spec's attention shapes show of the weights. Throws Error(Data) for a tensor that is
  // missing, has another shape than the spec asks for, or is not part of the model: it would mean another
  // model than the one we compute.
  Weights(const ModelFile& file, ModelSpec& spec);
  Weights(Weights&&) noexcept = default;
  Weights& operator=(Weights&&) noexcept = default;

  [[nodiscard]] const Network& network() const noexcept { return network_; }

  // Copies quantized matrices into the order of packed_matrix.h, where the CPU has 8-bit products.
  // Error(Data) when that takes more than `memory` bytes; 0: unknown.
  void repack(std::size_t memory);
  [[nodiscard]] std::size_t repacked_bytes() const noexcept { return repacked_.bytes(); }

  // Copies the layers' quantized matrices into the 8 bits of matmul_int8.h, so that no prompt has to.
  // Error(Data) as of repack().
  void keep_int8(std::size_t memory);
  [[nodiscard]] std::size_t int8_bytes_if_kept() const noexcept;
  [[nodiscard]] std::size_t int8_bytes() const noexcept { return int8_.bytes(); }

  // body(matrix, share) for each matrix that tokens are multiplied by; share: of the tokens (an expert's is
  // used / count).
  template <typename Body>
  void for_each_matrix(const Body& body) const {
    visit(network_, body);
  }

 private:
  friend class Binder;

  struct CopyReason {
    std::string_view what, remedy;  // when there is no room: what takes it, and how to do without
  };
  template <typename Size, typename Write>
  AlignedBuffer<std::byte> copy_matrices(const CopyReason& reason, std::size_t memory, const Size& size,
                                         const Write& write);
  [[nodiscard]] std::size_t int8_bytes_of(const MatrixView& matrix) const noexcept;  // 0: not kept

  template <typename Self, typename Body>
  static void visit(Self& network, const Body& body) {
    for (auto& layer : network.layers) {
      auto& a = layer.attention;
      for (auto* m : {&a.query, &a.key, &a.value, &a.output}) body(m->weight, 1.0);
      auto& f = layer.feed_forward;
      const auto each = [&](auto& w, double share) {
        for (auto* m : {&w.gate, &w.up, &w.down}) {
          if (m->weight.rows > 0) body(m->weight, share);
        }
      };
      if (f.spec.experts.count == 0) {
        each(f.dense, 1.0);
      } else {
        body(f.router.weight, 1.0);
        const double share =
            static_cast<double>(f.spec.experts.used) / static_cast<double>(f.spec.experts.count);
        for (auto& expert : f.experts) each(expert, share);
      }
    }
    body(network.output.weight, 1.0);
  }

  Network network_;
  std::deque<AlignedBuffer<float>> vectors_;        // norms, biases, sinks
  std::deque<AlignedBuffer<std::byte>> converted_;  // matrices that lie otherwise in the file
  AlignedBuffer<std::byte> repacked_;  // one for all, so that small matrices lie in huge pages too
  AlignedBuffer<std::byte> int8_;      // likewise
};

}  // namespace thinkey
