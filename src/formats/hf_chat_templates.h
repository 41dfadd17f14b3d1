// Chat templates and the texts of special tokens of a Hugging Face directory.
#pragma once

#include <filesystem>
#include <optional>

#include "formats/json.h"
#include "formats/model_file.h"

namespace thinkey {

// Special tokens ("bos_token": a string or an object with "content") that tokenizer_config.json or
// special_tokens_map.json names, for the templates. Later calls replace.
void read_special_token_texts(const JsonView& config, TokenizerData& data);

// The templates of tokenizer_config.json ("chat_template": a string, or a list of named ones) or, where there
// are any, those of chat_template.jinja and additional_chat_templates/NAME.jinja. `config`: nullopt when
// there is no such file. Throws Error(Data).
void read_chat_templates(const std::filesystem::path& directory, const std::optional<JsonView>& config,
                         TokenizerData& data);

}  // namespace thinkey
