#include "formats/hf_chat_templates.h"

#include <algorithm>
#include <array>
#include <string>
#include <system_error>
#include <vector>

#include "base/fail.h"
#include "base/mapped_file.h"
#include "formats/file_exists.h"

namespace thinkey {
namespace {

constexpr std::size_t kMaxTemplateBytes = std::size_t{1} << 20U;
constexpr std::size_t kMaxTemplates = 64;

std::string read_template(const std::filesystem::path& path) {
  const MappedFile file(path);
  if (file.bytes().size() > kMaxTemplateBytes) fail_data("{}: more than 1 MiB", path.string());
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

void add(TokenizerData& data, const std::string& name, std::string source,
         const std::filesystem::path& path) {
  if (name == "default") {
    data.chat_template = std::move(source);
    return;
  }
  if (data.chat_templates.size() >= kMaxTemplates)
    fail_data("{}: more than {} templates", path.string(), kMaxTemplates);
  data.chat_templates.emplace_back(name, std::move(source));
}

// True when the directory has templates in files of their own.
bool read_template_files(const std::filesystem::path& directory, TokenizerData& data) {
  bool found = false;
  const auto main = directory / "chat_template.jinja";
  if (file_exists(main)) {
    data.chat_template = read_template(main);
    found = true;
  }
  const auto more = directory / "additional_chat_templates";
  std::vector<std::filesystem::path> paths;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(more, error), end; !error && entry != end;
       entry.increment(error)) {
    if (entry->path().extension() == ".jinja") paths.push_back(entry->path());
    if (paths.size() > kMaxTemplates) fail_data("{}: more than {} templates", more.string(), kMaxTemplates);
  }
  std::sort(paths.begin(), paths.end());
  for (const auto& path : paths) add(data, path.stem().string(), read_template(path), path);
  return found || !paths.empty();
}

}  // namespace

void read_special_token_texts(const JsonView& config, TokenizerData& data) {
  static constexpr std::array<const char*, 7> kNames = {"bos_token", "eos_token", "unk_token", "sep_token",
                                                        "pad_token", "cls_token", "mask_token"};
  for (const char* name : kNames) {
    const Json* value = config.find(name);
    if (value == nullptr) continue;
    std::string text = value->is_object()
                           ? JsonView(*value, config.path(), std::string(name) + ".").require_text("content")
                           : config.require_text(name);
    const auto known = std::find_if(data.special_tokens.begin(), data.special_tokens.end(),
                                    [&](const auto& entry) { return entry.first == name; });
    if (known == data.special_tokens.end()) {
      data.special_tokens.emplace_back(name, std::move(text));
    } else {
      known->second = std::move(text);
    }
  }
}

void read_chat_templates(const std::filesystem::path& directory, const std::optional<JsonView>& config,
                         TokenizerData& data) {
  if (read_template_files(directory, data) || !config) return;
  const Json* value = config->find("chat_template");
  if (value == nullptr) return;
  if (!value->is_array()) {
    data.chat_template = config->text("chat_template").value_or("");
    return;
  }
  for (const Json& json : *value) {
    if (!json.is_object()) config->fail("chat_template", "holds something that is not an object");
    const JsonView entry(json, config->path(), "chat_template.");
    std::string source = entry.require_text("template");
    add(data, entry.text("name").value_or("default"), std::move(source), config->path());
  }
}

}  // namespace thinkey
