// A model on disk, whatever its container: GGUF (formats/gguf.h) or a Hugging Face directory
// (formats/hf_directory.h). Both are opened by open_model_file(): hyperparameters and tensors under the
// names the file gives them, and the tokenizer's raw tables. What they mean is the model floor's business
// (model/spec_reader.h, model/tensor_table.h).
//
// Model files come from strangers: every tensor lies inside its file and no size overflows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/tensor_type.h"
#include "formats/config_view.h"
#include "formats/tokenizer_data.h"

namespace thinkey {

enum class Container : std::uint8_t { Gguf, HuggingFace };

// A matrix (or vector: rows = 1) as it lies in the mapped file, row-major; or several of one shape, one
// after the other (experts). Linear layers are [out, in]: y[rows] = W[rows, cols] * x[cols].
struct Tensor {
  std::string name;
  TensorType type = TensorType::F32;
  std::size_t planes = 1;
  std::size_t rows = 0;
  std::size_t cols = 0;
  const std::byte* data = nullptr;  // lives as long as the ModelFile
  std::size_t bytes = 0;
};

class ModelFile {
 public:
  virtual ~ModelFile() = default;
  ModelFile(const ModelFile&) = delete;
  ModelFile& operator=(const ModelFile&) = delete;

  [[nodiscard]] Container kind() const noexcept { return kind_; }
  [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }
  // GGUF's general.architecture, config.json's model_type.
  [[nodiscard]] const std::string& architecture() const noexcept { return architecture_; }
  [[nodiscard]] const std::string& name() const noexcept { return name_; }  // free text; may be empty
  // Hyperparameters: config.json, or the architecture's keys without its prefix ("block_count").
  [[nodiscard]] const ConfigView& config() const noexcept { return *config_; }
  [[nodiscard]] const TokenizerData& tokenizer() const noexcept { return tokenizer_; }

  // All tensors in file order, under the file's names.
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

  Container kind_ = Container::Gguf;
  std::filesystem::path path_;
  std::string architecture_, name_;
  Json config_json_;                  // what config_ looks at
  std::optional<ConfigView> config_;  // set by every reader
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

}  // namespace thinkey
