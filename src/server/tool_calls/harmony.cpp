// gpt-oss writes messages, each <|channel|>HEADER<|message|>TEXT and <|end|>, <|call|> or <|return|>; the
// header says which channel it is and to whom it goes: analysis is reasoning, final is content, and what goes
// "to=functions.NAME" is a call whose arguments are the text.
#include <array>
#include <utility>

#include "server/tool_calls/call_scanner.h"
#include "server/tool_calls/message_parser.h"

namespace thinkey::server {
namespace {

constexpr std::string_view kMessage = "<|message|>";
constexpr std::array<std::string_view, 5> kEnds = {"<|end|>", "<|call|>", "<|return|>", "<|start|>",
                                                   "<|channel|>"};

class Harmony : public MessageParser {
 public:
  MessageDelta push(std::string_view text) override {
    MessageDelta out;
    pending_ += text;
    while (in_body_ ? read_body(out) : read_header(out)) {
    }
    return out;
  }
  MessageDelta finish() override {
    MessageDelta out;
    if (in_body_) {
      emit(std::exchange(pending_, {}), out);
    } else if (!any_) {
      out.content = std::exchange(pending_, {});  // it did not write messages
    }
    return out;
  }

 private:
  enum class To { Content, Reasoning, Call };

  bool read_header(MessageDelta& out) {
    const std::size_t at = pending_.find(kMessage);
    if (at == std::string::npos) return false;
    const std::string header = pending_.substr(0, at);
    pending_.erase(0, at + kMessage.size());
    in_body_ = any_ = true;
    constexpr std::string_view kTo = "to=functions.";
    if (const std::size_t to = header.find(kTo); to != std::string::npos) {
      std::string name = header.substr(to + kTo.size());
      name = name.substr(0, name.find_first_of(" <\n"));
      out.tool_calls.push_back(
          {.index = calls_, .id = new_call_id(), .name = std::move(name), .arguments = {}});
      to_ = To::Call;
    } else {
      to_ = header.find("analysis") != std::string::npos ? To::Reasoning : To::Content;
    }
    return true;
  }

  bool read_body(MessageDelta& out) {
    // The first marker that is whole ends the body; before a possible one the text is certain.
    std::size_t end = std::string::npos;
    std::size_t size = 0;
    std::size_t certain = pending_.size();
    for (const std::string_view marker : kEnds) {
      bool whole = false;
      const std::size_t at = find_marker(pending_, marker, whole);
      if (whole && at < end) {
        end = at;
        size = marker.size();
      }
      if (at < certain) certain = at;
    }
    emit(pending_.substr(0, std::min(end, certain)), out);
    if (end == std::string::npos) {
      pending_.erase(0, certain);
      return false;
    }
    pending_.erase(0, end + size);
    if (to_ == To::Call) ++calls_;
    in_body_ = false;
    return true;
  }

  void emit(std::string text, MessageDelta& out) {
    if (text.empty()) return;
    if (to_ == To::Content) out.content += text;
    if (to_ == To::Reasoning) out.reasoning += text;
    if (to_ == To::Call)
      out.tool_calls.push_back({.index = calls_, .id = {}, .name = {}, .arguments = std::move(text)});
  }

  std::string pending_;
  To to_ = To::Content;
  int calls_ = 0;
  bool in_body_ = false, any_ = false;
};

}  // namespace

std::unique_ptr<MessageParser> harmony_parser() { return std::make_unique<Harmony>(); }

}  // namespace thinkey::server
