// A Hugging Face model directory: config.json, *.safetensors and, optionally, the tokenizer's files.
#pragma once

#include <filesystem>
#include <memory>

#include "formats/model_file.h"

namespace thinkey {

// Throws Error(Data) naming the file at fault. A directory without tokenizer.json opens with
// tokenizer().tokens empty; end_of_generation then still holds the ids that the configuration names.
[[nodiscard]] std::unique_ptr<ModelFile> open_hf_directory(const std::filesystem::path& directory);

}  // namespace thinkey
