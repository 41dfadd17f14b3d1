// Llama 3 answers with nothing but calls: {"name": ..., "parameters": {...}}, several with ; or white space
// between them, maybe behind <|python_tag|>. Anything else is content.
#include <algorithm>
#include <optional>
#include <utility>

#include "server/tool_calls/call_scanner.h"
#include "server/tool_calls/message_parser.h"

namespace thinkey::server {
namespace {

constexpr std::string_view kTag = "<|python_tag|>";

class Llama3 : public MessageParser {
 public:
  explicit Llama3(std::vector<std::string> tools) : tools_(std::move(tools)) {}

  MessageDelta push(std::string_view text) override {
    MessageDelta out;
    pending_ += text;
    while (step(out)) {
    }
    return out;
  }

  MessageDelta finish() override {
    MessageDelta out;
    if (call_ && !named_) out.content = call_->raw();
    if (!call_ && calls_ == 0) out.content = pending_;
    pending_.clear();
    return out;
  }

 private:
  bool step(MessageDelta& out) {
    if (is_text_) {
      out.content += std::exchange(pending_, {});
      return false;
    }
    if (!call_) {
      const std::size_t at = pending_.find_first_not_of(calls_ == 0 ? " \n\r\t" : " \n\r\t;,");
      if (at == std::string::npos) return false;
      const std::string_view rest = std::string_view(pending_).substr(at);
      if (rest.starts_with(kTag)) {
        pending_.erase(0, at + kTag.size());
        return true;
      }
      if (kTag.starts_with(rest)) return false;  // may become the tag
      if (rest.front() != '{') {
        is_text_ = true;
        return true;
      }
      pending_.erase(0, at);
      call_.emplace();
      named_ = false;
      return true;
    }
    if (pending_.empty()) return false;
    pending_.erase(0, call_->push(pending_));
    // A call that is named stays one, whatever follows: its name may have been passed on.
    const bool known = std::find(tools_.begin(), tools_.end(), call_->name()) != tools_.end();
    if (!named_ && (call_->name().empty() ? call_->failed() : !known)) {
      out.content += call_->raw();
      call_.reset();
      is_text_ = true;
      return true;
    }
    add_call_delta(*call_, calls_, false, named_, out);
    if (!call_->done()) return false;
    call_.reset();
    ++calls_;
    return true;
  }

  std::vector<std::string> tools_;
  std::string pending_;
  std::optional<CallScanner> call_;
  int calls_ = 0;
  bool is_text_ = false, named_ = false;
};

}  // namespace

std::unique_ptr<MessageParser> llama3_parser(std::vector<std::string> tools) {
  return std::make_unique<Llama3>(std::move(tools));
}

}  // namespace thinkey::server
