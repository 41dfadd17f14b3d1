// Tool calls in the forms that models write them, whole and in pieces of every size.
#include "server/tool_calls/message_parser.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace thinkey::server {
namespace {

struct Message {
  std::string content, reasoning;
  std::vector<std::pair<std::string, std::string>> calls;  // name, arguments
  bool operator==(const Message&) const = default;
};

std::ostream& operator<<(std::ostream& out, const Message& m) {
  out << "content <" << m.content << "> reasoning <" << m.reasoning << ">";
  for (const auto& [name, arguments] : m.calls) out << " call " << name << " <" << arguments << ">";
  return out;
}

Message parse(ToolForm form, const std::string& text, std::size_t piece) {
  const auto parser = message_parser(form, {"weather", "time"});
  Message out;
  const auto add = [&](const MessageDelta& delta) {
    out.content += delta.content;
    out.reasoning += delta.reasoning;
    for (const ToolCallDelta& call : delta.tool_calls) {
      const auto index = static_cast<std::size_t>(call.index);
      EXPECT_LE(index, out.calls.size());
      if (index == out.calls.size()) {
        EXPECT_FALSE(call.id.empty());
        EXPECT_FALSE(call.name.empty());
        out.calls.emplace_back(call.name, "");
      } else {
        EXPECT_TRUE(call.name.empty());
      }
      out.calls[index].second += call.arguments;
    }
  };
  for (std::size_t at = 0; at < text.size(); at += piece)
    add(parser->push(std::string_view(text).substr(at, piece)));
  add(parser->finish());
  return out;
}

void check(ToolForm form, const std::string& text, const Message& expected) {
  for (std::size_t piece = 1; piece <= text.size() + 1; ++piece) {
    EXPECT_EQ(parse(form, text, piece), expected) << text << " in pieces of " << piece;
  }
}

TEST(ToolCalls, Hermes) {
  check(ToolForm::Hermes,
        "Let me look.\n<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"Li{le "
        "\\\"x\\\"\"}}\n</tool_call>",
        {"Let me look.\n", "", {{"weather", "{\"city\": \"Li{le \\\"x\\\"\"}"}}});
  check(ToolForm::Hermes,
        "<tool_call>\n{\"name\": \"weather\", \"arguments\": {}}\n</tool_call>\n<tool_call>\n{\"arguments\": "
        "{\"z\": [1, 2]}, "
        "\"name\": \"time\"}\n</tool_call>",
        {"", "", {{"weather", "{}"}, {"time", "{\"z\": [1, 2]}"}}});
  check(ToolForm::Hermes, "a < b and <tool", {"a < b and <tool", "", {}});
  check(ToolForm::Hermes, "<tool_call>[1, 2]</tool_call>", {"<tool_call>[1, 2]</tool_call>", "", {}});
  check(ToolForm::Hermes, "<tool_call>{\"nam", {"<tool_call>{\"nam", "", {}});
}

TEST(ToolCalls, TextBehindACallKeepsItsSpaces) {
  check(ToolForm::Hermes,
        "<tool_call>{\"name\": \"time\", \"arguments\": {}}</tool_call>\n Two words, then "
        "<tool_call>[1]</tool_call> "
        "three",
        {"\n Two words, then <tool_call>[1]</tool_call> three", "", {{"time", "{}"}}});
}

TEST(ToolCalls, OfTwoNamesOrArgumentsTheFirstCounts) {
  const std::string call =
      "{\"name\": \"time\", \"arguments\": {\"a\": 1}, \"name\": \"weather\", \"arguments\": \"{}\"}";
  const Message expected{"", "", {{"time", "{\"a\": 1}"}}};
  check(ToolForm::Hermes, "<tool_call>" + call + "</tool_call>", expected);
  check(ToolForm::Llama3, call, expected);
  check(ToolForm::Mistral, "[TOOL_CALLS][" + call + "]", expected);
}

TEST(ToolCalls, Llama3) {
  check(ToolForm::Llama3, "{\"name\": \"weather\", \"parameters\": {\"city\": \"Paris\"}}",
        {"", "", {{"weather", "{\"city\": \"Paris\"}"}}});
  check(ToolForm::Llama3,
        "<|python_tag|>{\"type\": \"function\", \"name\": \"weather\", \"parameters\": {}}; {\"name\": "
        "\"time\", \"parameters\": {\"a\": 1}}",
        {"", "", {{"weather", "{}"}, {"time", "{\"a\": 1}"}}});
  check(ToolForm::Llama3, "{\"name\": \"Ada\", \"born\": 1815}",
        {"{\"name\": \"Ada\", \"born\": 1815}", "", {}});
  check(ToolForm::Llama3, "{\"answer\": 42} is it", {"{\"answer\": 42} is it", "", {}});
  check(ToolForm::Llama3, "Plain text {\"name\": \"weather\"}",
        {"Plain text {\"name\": \"weather\"}", "", {}});
}

TEST(ToolCalls, ANamedCallStaysOneWhateverFollows) {
  check(ToolForm::Llama3, "{\"name\": \"time\", \"colour\": 1}", {"", "", {{"time", ""}}});
}

TEST(ToolCalls, Mistral) {
  check(ToolForm::Mistral,
        "[TOOL_CALLS] [{\"name\": \"weather\", \"arguments\": {\"c\": \"a]b\"}}, {\"name\": \"time\", "
        "\"arguments\": {}}]",
        {"", "", {{"weather", "{\"c\": \"a]b\"}"}, {"time", "{}"}}});
  check(ToolForm::MistralArgs,
        "Yes.[TOOL_CALLS]weather[ARGS]{\"city\": \"Lille\"}[TOOL_CALLS]time[CALL_ID]123456789[ARGS]{}",
        {"Yes.", "", {{"weather", "{\"city\": \"Lille\"}"}, {"time", "{}"}}});
  check(ToolForm::Mistral, "A list [1] and [TOOL", {"A list [1] and [TOOL", "", {}});
}

TEST(ToolCalls, Harmony) {
  check(ToolForm::Harmony,
        "<|channel|>analysis<|message|>Hm, 1 < 2.<|end|><|start|>assistant<|channel|>commentary "
        "to=functions.weather "
        "<|constrain|>json<|message|>{\"city\":\"Lille\"}<|call|>",
        {"", "Hm, 1 < 2.", {{"weather", "{\"city\":\"Lille\"}"}}});
  check(ToolForm::Harmony, "<|channel|>final<|message|>Hello <|x", {"Hello <|x", "", {}});
  check(ToolForm::Harmony, "no channels", {"no channels", "", {}});
}

TEST(ToolForms, AreKnownByTheTemplate) {
  EXPECT_EQ(tool_form("{{ '<tool_call>' }}"), ToolForm::Hermes);
  EXPECT_EQ(tool_form("[TOOL_CALLS] [AVAILABLE_TOOLS]"), ToolForm::Mistral);
  EXPECT_EQ(tool_form("[TOOL_CALLS]x[ARGS]"), ToolForm::MistralArgs);
  EXPECT_EQ(tool_form("<|python_tag|>"), ToolForm::Llama3);
  EXPECT_EQ(tool_form("<|channel|>x<|message|>"), ToolForm::Harmony);
  EXPECT_EQ(tool_form("{% for message in messages %}"), ToolForm::None);
}

}  // namespace
}  // namespace thinkey::server
