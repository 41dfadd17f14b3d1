// Calls between <tool_call> and </tool_call>, each a JSON object; what stands before them is content.
#include <optional>
#include <utility>

#include "server/tool_calls/call_scanner.h"
#include "server/tool_calls/message_parser.h"

namespace thinkey::server {
namespace {

constexpr std::string_view kOpen = "<tool_call>";
constexpr std::string_view kClose = "</tool_call>";

class Hermes : public MessageParser {
 public:
  MessageDelta push(std::string_view text) override {
    MessageDelta out;
    pending_ += text;
    for (bool more = true; more;) more = in_call_ ? read_call(out) : read_content(out);
    return out;
  }

  MessageDelta finish() override {
    MessageDelta out;
    if (in_call_) {
      // The answer broke off: a call that is named stays one, the rest was text after all.
      if (!named_) out.content = content(std::string(kOpen) + call_->raw() + pending_);
    } else {
      out.content = content(pending_);
    }
    pending_.clear();
    return out;
  }

 private:
  // White space behind a call says nothing, unless text follows it.
  std::string content(std::string text) {
    if (!after_call_) return text;
    gap_ += text;
    if (gap_.find_first_not_of(" \n\r\t") == std::string::npos) return {};
    after_call_ = false;
    return std::exchange(gap_, {});
  }

  bool read_content(MessageDelta& out) {
    bool whole = false;
    const std::size_t at = find_marker(pending_, kOpen, whole);
    out.content += content(pending_.substr(0, at));
    pending_.erase(0, at);
    if (!whole) return false;
    pending_.erase(0, kOpen.size());
    in_call_ = true;
    named_ = false;
    call_.emplace();
    return true;
  }

  bool read_call(MessageDelta& out) {
    if (!call_->done() && !call_->failed()) {
      pending_.erase(0, call_->push(pending_));
      add_call_delta(*call_, calls_, false, named_, out);
    }
    if (call_->failed() && !named_) {  // no call at all
      out.content += content(std::string(kOpen) + call_->raw());
      in_call_ = false;
      return true;
    }
    bool whole = false;
    const std::size_t at = find_marker(pending_, kClose, whole);
    if (!whole) {
      if (call_->done()) pending_.erase(0, at);
      return false;
    }
    pending_.erase(0, at + kClose.size());
    in_call_ = false;
    after_call_ = true;
    gap_.clear();
    ++calls_;
    return true;
  }

  std::string pending_;
  std::string gap_;  // white space behind the latest call
  std::optional<CallScanner> call_;
  int calls_ = 0;
  bool in_call_ = false, named_ = false, after_call_ = false;
};

}  // namespace

std::unique_ptr<MessageParser> hermes_parser() { return std::make_unique<Hermes>(); }

}  // namespace thinkey::server
