// Conversations to text by Jinja templates.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>

#include "formats/model_file.h"
#include "jinja/template.h"
#include "thinkey/chat.h"

namespace thinkey {

// Of one model, whose tables must outlive it; templates are parsed when they are first used. Any number of
// threads may render at once.
class ChatRenderer {
 public:
  explicit ChatRenderer(const TokenizerData& data) : data_(&data) {}

  [[nodiscard]] std::string render(std::span<const ChatMessage> messages, const ChatOptions& options) const;
  [[nodiscard]] std::string render_json(std::string_view conversation, const ChatOptions& options) const;

 private:
  using Parsed = std::shared_ptr<const jinja::Template>;
  [[nodiscard]] Parsed find_template(const ChatOptions& options, bool has_tools) const;
  [[nodiscard]] Parsed parsed(const std::string& key, std::string_view source, const std::string& name) const;
  [[nodiscard]] std::string render(jinja::Dict request, const ChatOptions& options) const;

  const TokenizerData* data_;
  mutable std::mutex mutex_;
  mutable std::map<std::string, Parsed> parsed_;
};

}  // namespace thinkey
