// What a model writes, taken apart into content, reasoning and tool calls: the same whole and in pieces.
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fuzz_input.h"
#include "server/tool_calls/message_parser.h"

namespace thinkey::fuzz {
namespace {

struct Message {
  std::string content, reasoning;
  std::vector<std::pair<std::string, std::string>> calls;  // name, arguments
  bool operator==(const Message&) const = default;
};

Message parse(server::ToolForm form, std::string_view text, std::size_t piece) {
  const auto parser = server::message_parser(form, {"weather", "time"});
  Message out;
  const auto add = [&](const server::MessageDelta& delta) {
    out.content += delta.content;
    out.reasoning += delta.reasoning;
    for (const server::ToolCallDelta& call : delta.tool_calls) {
      const auto index = static_cast<std::size_t>(call.index);
      FUZZ_REQUIRE(index <= out.calls.size());
      if (index == out.calls.size()) {
        FUZZ_REQUIRE(!call.id.empty());
        out.calls.emplace_back();
      }
      out.calls[index].first += call.name;
      out.calls[index].second += call.arguments;
    }
  };
  for (std::size_t at = 0; at < text.size(); at += piece) add(parser->push(text.substr(at, piece)));
  add(parser->finish());
  return out;
}

}  // namespace
}  // namespace thinkey::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace thinkey;
  if (size < 1 || size > 1024) return 0;
  const auto form = static_cast<server::ToolForm>(data[0] % 6);
  const std::string_view text = fuzz::text_of(data + 1, size - 1);
  const fuzz::Message whole = fuzz::parse(form, text, size);
  FUZZ_REQUIRE(fuzz::parse(form, text, 1) == whole);
  FUZZ_REQUIRE(fuzz::parse(form, text, 7) == whole);
  FUZZ_REQUIRE(whole.content.size() + whole.reasoning.size() <= text.size());
  return 0;
}
