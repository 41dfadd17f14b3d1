// How a pass's work is cut on a CPU, and the memory it takes; known before anything is allocated. In the
// shapes: C = min(T, chunk) rows, S the observation window, F a feed-forward width; the rest as in backend.h.
#pragma once

#include <cstddef>
#include <stdexcept>

#include "backend/backend.h"
#include "backend/cpu/cpu_backend.h"
#include "backend/cpu/hidden_states.h"
#include "backend/cpu/products.h"
#include "base/aligned_buffer.h"

namespace thinkey {

// What a phase's products need beside their results.
struct ProductSizes {
  std::size_t weight_bytes = 0;     // of the weights brought into another form at the same time
  bool bf16 = false, int8 = false;  // forms that activations are brought into
};

struct PassSizes {
  std::size_t chunk = 0;  // C
  bool few = false;       // all products read weights as they were loaded
  bool any_rope = false;

  // Floats of the two pieces that attention's arrays take turns in (see AttentionScratch).
  std::size_t attention_a = 0, attention_b = 0;
  // The FFN runs for this many rows through this many of its F inner channels at a time: few enough weights
  // are wide at once, and they are widened once for many rows. Experts: all of their channels.
  std::size_t ffn_rows = 0, ffn_block = 0;
  std::size_t inner = 0;         // floats of gate, and of up
  std::size_t most_experts = 0;  // of any layer
  bool normed_bf16 = false;      // the FFN's normed rows are kept in bf16
  bool summed = false;           // some layer's FFN is summed up before it is added to the hidden states
  std::size_t output_rows = 0;   // rows per chunk of all-row logits
  std::size_t output_block = 0;  // vocabulary entries widened at a time for them

  ProductSizes attention, feed_forward, output;

  std::size_t hidden_bytes = 0;   // of the hidden states
  std::size_t kv = 0;             // elements of one layer's keys, and of its values
  std::size_t kv_bytes = 0;       // of one element
  std::size_t scratch_bytes = 0;  // of the phases, which take turns in it
};

[[nodiscard]] PassSizes pass_sizes(const Network& network, const PassRequest& request,
                                   const CpuOptions& options);
[[nodiscard]] HiddenPrecision hidden_precision(const PassRequest& request,
                                               const CpuOptions& options) noexcept;

// A piece of memory that several arrays have in turns: begin() gives it to one and ends the others' lives.
template <typename Use>
class InTurns {
 public:
  InTurns() = default;
  InTurns(float* memory, std::size_t floats) : memory_(memory), floats_(floats) {}

  float* begin(Use use, std::size_t floats) {
    if (floats > floats_) throw std::logic_error("an array exceeds the memory it was given");
    live_ = use;
    return memory_;
  }
  [[nodiscard]] float* get(Use use) const {
    if (live_ != use) throw std::logic_error("an array was used after another took its place");
    return memory_;
  }

 private:
  float* memory_ = nullptr;
  std::size_t floats_ = 0;
  Use live_ = Use::Nothing;
};

struct AttentionScratch {
  enum class A { Nothing, Normed, Attended };                     // [C, d], [C, H, D]
  enum class B { Nothing, KeysValues, Queries, All, Projected };  // 2 [C, Hkv, D], [C, H, D], both, [C, d]
  InTurns<A> a;
  InTurns<B> b;
  float* observed = nullptr;                   // [min(T, S), H, D], the layer's last queries
  float* lse = nullptr;                        // [C, H]
  float *past = nullptr, *past_lse = nullptr;  // [C, H, D], [C, H]
  ProductScratch products;
};

struct FeedForwardScratch {
  enum class U { Nothing, Rows, Up };  // [C, d]: normed rows before the products, their result after; [C, F]
  float* normed = nullptr;             // [ffn_rows, d]; [kFewRows, d] when kept in bf16
  bf16_bits* half_normed = nullptr;    // [ffn_rows, d], when kept in bf16
  float* summed = nullptr;             // [ffn_rows, d]
  float* gate = nullptr;               // [C, ffn_block]
  InTurns<U> up;
  float* gathered = nullptr;  // [C, d], an expert's rows
  float* router = nullptr;    // [ffn_rows, E]
  ProductScratch products;
};

struct LogitsScratch {
  float* normed = nullptr;  // [output_rows, d]
  float* logits = nullptr;  // [output_rows, V], all-row logits only
  ProductScratch products;
};

// Memory of one pass. The three scratches lie over each other: a phase overwrites the others'.
class PassMemory {
 public:
  PassMemory(const Network& network, const PassRequest& request, const PassSizes& sizes,
             const CpuOptions& options, AllocationCounter* counter);

  HiddenStates hidden;  // [T, d]

  // One layer's whole keys and values [Hkv, T, D], after RoPE, in the type of the products.
  AlignedBuffer<float> key_f32, value_f32;
  AlignedBuffer<bf16_bits> key_bf16, value_bf16;

  AttentionScratch attention;
  FeedForwardScratch feed_forward;
  LogitsScratch logits;

 private:
  AlignedBuffer<std::byte> scratch_;
};

}  // namespace thinkey
