// [TOOL_CALLS] and then a list of calls, [{"name": ..., "arguments": {...}}, ...], or (newer models) for each
// call its name, maybe [CALL_ID]..., maybe [ARGS], and the arguments.
#include <algorithm>
#include <optional>
#include <utility>

#include "server/tool_calls/call_scanner.h"
#include "server/tool_calls/message_parser.h"

namespace thinkey::server {
namespace {

constexpr std::string_view kMarker = "[TOOL_CALLS]";
constexpr std::string_view kSpace = " \n\r\t";

class Mistral : public MessageParser {
 public:
  MessageDelta push(std::string_view text) override {
    MessageDelta out;
    pending_ += text;
    while (step(out)) {
    }
    return out;
  }
  MessageDelta finish() override {
    MessageDelta out;
    if (state_ == State::Content) out.content = std::exchange(pending_, {});
    return out;
  }

 private:
  enum class State { Content, Begin, List, Call, Name, Arguments };

  bool step(MessageDelta& out) {
    switch (state_) {
      case State::Content: {
        bool whole = false;
        const std::size_t at = find_marker(pending_, kMarker, whole);
        out.content += pending_.substr(0, at);
        pending_.erase(0, at);
        if (!whole) return false;
        pending_.erase(0, kMarker.size());
        state_ = State::Begin;
        return true;
      }
      case State::Begin:
        if (!skip(kSpace)) return false;
        if (pending_.front() == '[' &&
            !pending_.starts_with(kMarker.substr(0, std::min(pending_.size(), kMarker.size())))) {
          pending_.erase(0, 1);
          state_ = State::List;
        } else if (pending_.front() == '[' && pending_.size() == 1) {
          return false;
        } else if (pending_.starts_with(kMarker)) {
          pending_.erase(0, kMarker.size());
        } else if (pending_.front() == '[') {
          return false;
        } else {
          state_ = State::Name;
        }
        return true;
      case State::List:
        if (!skip(" \n\r\t,")) return false;
        if (pending_.front() != '{') {  // the list's end
          pending_.erase(0, 1);
          state_ = State::Begin;
          return true;
        }
        call_.emplace();
        named_ = false;
        state_ = State::Call;
        return true;
      case State::Call:
        return read_call(out);
      case State::Name:
        return read_name(out);
      case State::Arguments: {
        if (pending_.empty()) return false;
        const std::size_t n = value_.push(pending_);
        out.tool_calls.push_back({.index = calls_, .id = {}, .name = {}, .arguments = pending_.substr(0, n)});
        pending_.erase(0, n);
        if (!value_.done()) return false;
        ++calls_;
        state_ = State::Begin;
        return true;
      }
    }
    return false;
  }

  bool read_call(MessageDelta& out) {
    if (pending_.empty()) return false;
    pending_.erase(0, call_->push(pending_));
    add_call_delta(*call_, calls_, true, named_, out);
    if (call_->failed() && !named_) {
      out.content += call_->raw();
      state_ = State::Content;
      return true;
    }
    if (!call_->done()) return false;
    ++calls_;
    state_ = State::List;
    return true;
  }

  bool read_name(MessageDelta& out) {
    const std::size_t at = pending_.find('{');
    if (at == std::string::npos) return false;
    std::string name = pending_.substr(0, at);
    name = name.substr(0, name.find('['));
    while (!name.empty() && kSpace.find(name.back()) != std::string_view::npos) name.pop_back();
    out.tool_calls.push_back(
        {.index = calls_, .id = new_call_id(true), .name = std::move(name), .arguments = {}});
    pending_.erase(0, at);
    value_ = {};
    state_ = State::Arguments;
    return true;
  }

  // Whether anything is left.
  bool skip(std::string_view characters) {
    pending_.erase(0, std::min(pending_.find_first_not_of(characters), pending_.size()));
    return !pending_.empty();
  }

  std::string pending_;
  State state_ = State::Content;
  std::optional<CallScanner> call_;
  ValueScanner value_;
  int calls_ = 0;
  bool named_ = false;
};

}  // namespace

std::unique_ptr<MessageParser> mistral_parser() { return std::make_unique<Mistral>(); }

}  // namespace thinkey::server
