// Chat templates are text from strangers: whatever they hold, parsing and rendering ends in text or in one
// Error. An input is a template and, after a zero byte, the conversation in JSON; without one, a small
// conversation is used.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "jinja/repr.h"
#include "jinja/template.h"
#include "thinkey/error.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace thinkey::jinja;
  static constexpr std::string_view kConversation =
      R"({"messages": [{"role": "system", "content": "S é"}, {"role": "user", "content": "a\nb"},)"
      R"({"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f", "arguments": {"x": 1.5}}}]},)"
      R"({"role": "tool", "content": "[1, 2]"}], "tools": [{"type": "function", "function": {"name": "f",)"
      R"("parameters": {"type": "object", "properties": {"x": {"type": "number"}}}}}], "documents": null,)"
      R"("add_generation_prompt": true, "bos_token": "<s>", "eos_token": "</s>", "n": 3, "l": [3, "b", null]})";
  // A thousandth of what a template may spend: the same code, and a thousand times as many inputs.
  static constexpr RenderLimits kLimits{.steps = 10'000, .bytes = std::size_t{256} << 10U};
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const std::size_t zero = text.find('\0');
  try {
    static const Value usual = from_json(kConversation);
    const Value variables = zero == std::string_view::npos ? usual : from_json(text.substr(zero + 1));
    if (!variables.is(Kind::Dict)) return 0;
    const Template parsed(text.substr(0, zero), "fuzz");
    static_cast<void>(parsed.render(variables.dict(), 1753091415, kLimits));
  } catch (const thinkey::Error&) {
  } catch (const Fault&) {  // of the JSON
  }
  return 0;
}
