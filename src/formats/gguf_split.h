// Models that llama.cpp's tools have split into several GGUF files, NAME-00001-of-0000N.gguf and so on: the
// first has the metadata, each its own tensors.
#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "formats/gguf.h"

namespace thinkey {

// All files of one model; one where it has not been split.
class GgufParts {
 public:
  // Opens the file and, where it is the first of several, the others beside it. Throws Error(Data) for a
  // later part (naming the first), for parts that are missing, and for parts that are not of one model:
  // another number, count or metadata than the first part asks for, or another number of tensors in all.
  explicit GgufParts(const std::filesystem::path& path);

  [[nodiscard]] const GgufFile& first() const noexcept { return files_.front(); }
  [[nodiscard]] const std::vector<GgufFile>& files() const noexcept { return files_; }
  [[nodiscard]] std::size_t file_bytes() const noexcept;
  // "GGUF v3", or "GGUF v3, 4 parts".
  [[nodiscard]] std::string container() const;

  // The tensor of this name as its part's directory has it, and that part; nullptrs when there is none.
  [[nodiscard]] std::pair<const GgufFile*, const GgufTensor*> find(const std::string& name) const noexcept;

 private:
  std::vector<GgufFile> files_;
};

// Throws Error(Data) when the file is a later part of a split model. Names the first one.
void refuse_later_part(const GgufFile& file);

}  // namespace thinkey
