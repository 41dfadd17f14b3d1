// A loaded model: weights, hyperparameters and tokenizer. Shared by any number of sessions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "thinkey/cache_report.h"
#include "thinkey/cache_spec.h"
#include "thinkey/chat.h"
#include "thinkey/encode_options.h"

namespace thinkey {

enum class PrefillPrecision : std::uint8_t {
  Auto,  // quantized weights and their activations in 8 bits (an f32 scale per 64) where the CPU has such
         // products (AVX-512 VNNI) and no faster ones (AMX); all else in bf16 where the CPU has it, in f32
         // otherwise
  BF16,  // bf16 where the CPU has it, f32 otherwise
  F32,
};

enum class DecodePrecision : std::uint8_t {
  Auto,  // activations rounded to 8 bits (an f32 scale per 32) for quantized weights where the CPU has
         // such products (AVX-512 VNNI), f32 otherwise
  F32,
};

// Quantized weights multiply prompts in 8 bits, where `precision` and the CPU let them.
enum class PrefillWeights : std::uint8_t {
  Fresh,  // brought into that form by every prompt
  Kept,   // once, while loading, at about a byte for each: 16 tokens take a third of the time, 64 a half.
          // Error(Data) when there is no room
  Auto,   // kept if that takes at most an eighth of the memory available
};

struct ModelOptions {
  int threads = 0;  // 0: all cores available to the process. Process-wide.
  PrefillPrecision precision = PrefillPrecision::Auto;
  // Prompts of a few tokens are multiplied in the same way when `precision` is Auto.
  DecodePrecision decode_precision = DecodePrecision::Auto;
  // Copies quantized weights into an order in which the CPU reads them faster for every new token, if
  // decode_precision is Auto and the CPU has 8-bit products. Takes their bytes once more, in memory;
  // Error(Data) when there are not as many.
  bool repack = true;
  // Memory for speed of prompts: see PrefillWeights.
  PrefillWeights prefill_weights = PrefillWeights::Fresh;
  // Looks for NaN and infinity after every layer, not only in the logits: the NonFiniteError then names it.
  bool check_finite = false;
};

struct ModelInfo {
  std::string architecture, name, container;
  std::size_t vocabulary = 0, layers = 0, width = 0, query_heads = 0, kv_heads = 0, head_dim = 0,
              ffn_width = 0;
  std::size_t context_length = 0;
  std::size_t sliding_window = 0, sliding_layers = 0;  // the widest window, and how many layers have one
  std::size_t experts = 0, experts_used = 0;           // of a layer, and per token; 0: none
  float rope_theta = 0.0F;
  std::string rope_scaling;
  bool tied_output = false;
  std::size_t parameters = 0;
  std::size_t file_bytes = 0;
  std::size_t decode_bytes = 0;          // of weights that one decode step reads
  std::size_t repacked_bytes = 0;        // of weights copied (ModelOptions::repack)
  std::size_t prefill_weight_bytes = 0;  // of weights kept (ModelOptions::prefill_weights)
  double load_seconds = 0.0;             // Model::load() in all
  double repack_seconds = 0.0;           // of it for that copy
  std::size_t decode_parameters = 0;  // elements of those weights: half of a token's operations but attention
  bool has_tokenizer = false;
  std::vector<std::pair<std::string, std::string>> metadata;              // as the file says, for display
  std::vector<std::pair<std::string, std::size_t>> bytes_by_tensor_type;  // "Q4_K" -> bytes
  std::string prefill_arithmetic, decode_arithmetic;  // "f32", "bf16", "bf16+int8"; "f32", "int8"
  bool quantized = false;  // some matrix that every token is multiplied by has less than 16 bits
};

// Bytes needed beside the weights, by purpose, for a prompt of `prompt` tokens and `generate` more.
struct MemoryEstimate {
  std::size_t hidden_states = 0;  // [T, d], f32 or 24 bits
  std::size_t layer_kv = 0;       // one layer's whole K and V during prefill
  std::size_t scratch = 0;        // a chunk's activations and widened weights
  std::size_t cache = 0;          // compressed caches of all layers
  [[nodiscard]] std::size_t total() const noexcept { return hidden_states + layer_kv + scratch + cache; }
};

class Model {
 public:
  // A .gguf file or a Hugging Face directory. Throws Error.
  [[nodiscard]] static std::shared_ptr<const Model> load(const std::filesystem::path& path,
                                                         const ModelOptions& options = {});
  ~Model();
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  [[nodiscard]] const ModelInfo& info() const noexcept;

  // Token ids of UTF-8 text. Error(Data) for invalid UTF-8 or a model without tokenizer.
  [[nodiscard]] std::vector<std::int32_t> tokenize(std::string_view text,
                                                   const EncodeOptions& options = {}) const;
  [[nodiscard]] std::string detokenize(std::span<const std::int32_t> ids, bool special = false) const;
  [[nodiscard]] bool ends_generation(std::int32_t id) const noexcept;
  [[nodiscard]] std::int32_t bos() const noexcept;  // -1: none

  // What the model's chat template makes of a conversation. Throws Error(Data) when the model has no template
  // and none is named, or with the template's own message and line; Error(Usage) for an unknown name or bad
  // options.
  [[nodiscard]] std::string render_chat(std::span<const ChatMessage> messages,
                                        const ChatOptions& options = {}) const;
  // The same of a JSON list of messages with any fields, or of an object {"messages": [...], "tools": [...],
  // "documents": [...], "add_generation_prompt": true, "chat_template_kwargs": {...}}, whose fields but the
  // first are optional.
  [[nodiscard]] std::string render_chat_json(std::string_view conversation,
                                             const ChatOptions& options = {}) const;
  // Token ids of a rendered conversation: control tokens are recognised, and BOS stands in front once: as the
  // template writes it, or else if the model's tokenizer adds it.
  [[nodiscard]] std::vector<std::int32_t> tokenize_chat(std::string_view text) const;

  [[nodiscard]] MemoryEstimate estimate(const CacheSpec& spec, std::size_t prompt,
                                        std::size_t generate) const;
  // What a session's cache costs after `tokens` prompt tokens, without running anything.
  [[nodiscard]] CacheReport estimate_cache(const CacheSpec& spec, std::size_t tokens) const;

 private:
  struct Impl;
  friend struct ModelAccess;  // the library's own floors
  explicit Model(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace thinkey
