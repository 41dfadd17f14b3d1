// A model on disk, whatever its container: GGUF (formats/gguf.h) or a Hugging Face directory
// (formats/hf_directory.h). Both are opened by open_model_file() and look the same from here on:
// hyperparameters, tensors under their GGUF names, and the tokenizer's raw tables.
//
// Model files come from strangers: a ModelFile that exists has been checked. Every tensor lies
// inside its file, has the shape the hyperparameters ask for, and no size overflows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/tensor_type.h"

namespace thinkey {

// How the two halves of a rotated pair lie in a head: GGUF `llama` files store Q and K rows
// permuted so that pairs are neighbours (2i, 2i+1); Hugging Face pairs i with i + D/2.
enum class RopeLayout : std::uint8_t { Interleaved, HalfSplit };

struct Hyperparameters {
  std::string architecture;         // "llama" or "mistral"
  std::string name;                 // free text from the file; may be empty
  std::int64_t vocabulary = 0;      // V
  std::int64_t layers = 0;          // L
  std::int64_t width = 0;           // d, the hidden size
  std::int64_t query_heads = 0;     // H
  std::int64_t kv_heads = 0;        // Hkv, divides H
  std::int64_t head_dim = 0;        // D, a multiple of 8; may differ from d / H
  std::int64_t ffn_width = 0;       // F
  std::int64_t context_length = 0;  // positions the model was trained for
  std::int64_t sliding_window = 0;  // a query sees this many latest positions, itself included; 0 = all
  float rms_epsilon = 1e-5F;
  bool tied_output = false;  // the output matrix is the token embedding

  RopeLayout rope_layout = RopeLayout::Interleaved;
  float rope_theta = 10000.0F;
  std::string rope_scaling = "none";  // "none", "linear" or "llama3"; for display, already applied below
  // Angle of pair i at position p is p * rope_inverse_frequencies[i]; scaling included. [D/2]
  std::vector<float> rope_inverse_frequencies;
};

// A matrix (or vector: rows = 1) as it lies in the mapped file, row-major.
// Linear layers are [out, in]: y[rows] = W[rows, cols] * x[cols].
struct Tensor {
  std::string name;
  TensorType type = TensorType::F32;
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  const std::byte* data = nullptr;  // lives as long as the ModelFile
  std::size_t bytes = 0;
};

enum class TokenizerKind : std::uint8_t {
  SentencePiece,  // GGUF "llama": scores, byte fallback, spaces as U+2581
  BytePairs,      // GGUF "gpt2": byte-level BPE with merges
};

// Classes of vocabulary entries, numbered as in GGUF's tokenizer.ggml.token_type.
enum class TokenType : std::uint8_t {
  Normal = 1,
  Unknown = 2,
  Control = 3,
  UserDefined = 4,
  Unused = 5,
  Byte = 6
};

// The tokenizer's tables as plain data; src/tokenizer builds the algorithms from it. No tokens at all
// means that the file has no tokenizer. Otherwise every id below is that of a token.
struct TokenizerData {
  TokenizerKind kind = TokenizerKind::SentencePiece;
  // BytePairs: "llama-bpe", "smollm", "gpt-2" or "default"; a GGUF may name another.
  std::string pre;
  // Piece per id. BytePairs: in the byte-to-unicode alphabet, except Control and UserDefined pieces,
  // which are plain text in both kinds. SentencePiece: byte pieces are written <0x0A>.
  std::vector<std::string> tokens;
  std::vector<TokenType> types;  // per id, same length as tokens
  std::vector<float> scores;     // SentencePiece: per id, same length as tokens
  // BytePairs: best first. SentencePiece from a tokenizer.json of type BPE: merges present, scores
  // empty, rank = merge order.
  std::vector<std::pair<std::string, std::string>> merges;
  std::int32_t bos = -1, eos = -1, unknown = -1;  // -1: none
  std::vector<std::int32_t>
      end_of_generation;  // all ids that end an answer (EOS, <|eot_id|>, ...), ascending
  bool add_bos = false, add_eos = false;
  bool add_space_prefix = true;  // SentencePiece only
  // BytePairs (LLaMA 3): a whole pre-token found in the vocabulary is taken as is.
  bool ignore_merges = false;
  std::string chat_template;  // Jinja source or empty
  // Further templates by name, such as "tool_use", in the file's order.
  std::vector<std::pair<std::string, std::string>> chat_templates = {};
  // What templates know special tokens by, such as ("pad_token", "<pad>"); BOS and EOS may be missing here.
  std::vector<std::pair<std::string, std::string>> special_tokens = {};
};

class ModelFile {
 public:
  virtual ~ModelFile() = default;
  ModelFile(const ModelFile&) = delete;
  ModelFile& operator=(const ModelFile&) = delete;

  [[nodiscard]] const Hyperparameters& hyperparameters() const noexcept { return hyperparameters_; }
  [[nodiscard]] const TokenizerData& tokenizer() const noexcept { return tokenizer_; }

  // Tensors in file order, these and no others, under GGUF names: token_embd.weight [V,d], output_norm.weight
  // [1,d], output.weight [V,d] (absent when tied), and per layer i: blk.i.attn_norm.weight [1,d],
  // blk.i.attn_q.weight [H*D,d], blk.i.attn_k.weight [Hkv*D,d], blk.i.attn_v.weight [Hkv*D,d],
  // blk.i.attn_output.weight [d,H*D], blk.i.ffn_norm.weight [1,d], blk.i.ffn_gate.weight [F,d],
  // blk.i.ffn_up.weight [F,d], blk.i.ffn_down.weight [d,F].
  [[nodiscard]] const std::vector<Tensor>& tensors() const noexcept { return tensors_; }

  // nullptr when there is none of that name.
  [[nodiscard]] const Tensor* find(const std::string& name) const noexcept;

  // What the container says, for `inspect`: (key, printable value) in file order, long arrays shortened.
  [[nodiscard]] const std::vector<std::pair<std::string, std::string>>& metadata() const noexcept {
    return metadata_;
  }
  // "GGUF v3" or "Hugging Face, 2 shards".
  [[nodiscard]] const std::string& container() const noexcept { return container_; }
  [[nodiscard]] std::size_t file_bytes() const noexcept { return file_bytes_; }

 protected:
  ModelFile() = default;

  // Appends to tensors_; false when there is one of that name already.
  [[nodiscard]] bool add_tensor(Tensor tensor);

  Hyperparameters hyperparameters_;
  TokenizerData tokenizer_;
  std::vector<Tensor> tensors_;
  std::vector<std::pair<std::string, std::string>> metadata_;
  std::string container_;
  std::size_t file_bytes_ = 0;

 private:
  std::unordered_map<std::string, std::size_t> index_;  // name -> position in tensors_
};

// Opens a .gguf file or a directory with config.json, *.safetensors and tokenizer.json.
// Throws Error(Data) naming the path, the item at fault and, where there is one, the remedy.
[[nodiscard]] std::unique_ptr<ModelFile> open_model_file(const std::filesystem::path& path);

// The tokenizer alone: from a .gguf file, which may hold nothing but a vocabulary, of any architecture ...
[[nodiscard]] TokenizerData read_gguf_vocabulary(const std::filesystem::path& path);
// ... or from a tokenizer.json. What stands in the files beside it (tokenizer_config.json: chat
// template, BOS and EOS) is read by open_model_file() only.
[[nodiscard]] TokenizerData read_tokenizer_json(const std::filesystem::path& path);

// Checks shared by both containers, in the order a reader needs them. Throw Error(Data).
// Hyperparameters within sane bounds, so that sizes made from them neither overflow nor explode.
void check_hyperparameters(const Hyperparameters& h, const std::filesystem::path& path);
// The above, every tensor of the list present and of the right shape, the tokenizer's size.
void check_model(const ModelFile& file, const std::filesystem::path& path);

}  // namespace thinkey
