#include "formats/model_file.h"

#include <system_error>
#include <utility>

#include "base/fail.h"
#include "formats/file_exists.h"
#include "formats/gguf.h"
#include "formats/hf_directory.h"

namespace thinkey {

const Tensor* ModelFile::find(const std::string& name) const noexcept {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &tensors_[found->second];
}

bool ModelFile::add_tensor(Tensor tensor) {
  if (!index_.emplace(tensor.name, tensors_.size()).second) return false;
  tensors_.push_back(std::move(tensor));
  return true;
}

std::unique_ptr<ModelFile> open_model_file(const std::filesystem::path& path) {
  if (!file_exists(path)) fail_data("{}: no such file or directory", path.string());
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) return open_hf_directory(path);
  if (path.extension() == ".safetensors" || path.extension() == ".json") {
    fail_data("{}: is one part of a Hugging Face model; give the directory it lies in", path.string());
  }
  return open_gguf_model(path);
}

}  // namespace thinkey
