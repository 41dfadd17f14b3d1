#include "engine/replay.h"

#include <algorithm>
#include <string>
#include <string_view>

#include "thinkey/error.h"

namespace thinkey {
namespace {

constexpr std::size_t kPartTokens = 2048;
constexpr std::size_t kLeadTokens = 8;  // of the part before, which a request shows

// What a chat template writes between a user's message and the model's answer.
std::string answer_start(const ChatRenderer& chat) {
  constexpr std::string_view kMark = "@@message@@";
  const ChatMessage message{.role = "user", .content = std::string(kMark)};
  try {
    const std::string text = chat.render({&message, 1}, {});
    const std::size_t at = text.find(kMark);
    return at == std::string::npos ? "\n" : text.substr(at + kMark.size());
  } catch (const Error&) {  // no template, or one that wants more
    return "\n";
  }
}

}  // namespace

std::vector<Replay> make_replays(const Tokenizer& tokenizer, const ChatRenderer& chat,
                                 std::span<const std::int32_t> prompt) {
  const auto encode = [&](std::string_view text) {
    return tokenizer.encode(text, {.add_special = false, .parse_special = true});
  };
  const std::vector<std::int32_t> first = encode("\n\nRepeat the previous context exactly.");
  const std::vector<std::int32_t> next =
      encode("\n\nRepeat the part of the previous context exactly, starting with");
  const std::vector<std::int32_t> answer = encode(answer_start(chat));
  std::vector<Replay> replays;
  for (std::size_t begin = 0; begin < prompt.size(); begin += kPartTokens) {
    const std::size_t count = std::min(kPartTokens, prompt.size() - begin);
    Replay& replay =
        replays.emplace_back(Replay{.tokens = begin == 0 ? first : next, .part = {begin, count}});
    const auto append = [&](std::span<const std::int32_t> tokens) {
      replay.tokens.insert(replay.tokens.end(), tokens.begin(), tokens.end());
    };
    if (begin > 0) append(prompt.subspan(begin - kLeadTokens, kLeadTokens));
    append(answer);
    append(prompt.subspan(begin, count));
  }
  return replays;
}

std::vector<Replay> replays_of_length(const Tokenizer& tokenizer, const ChatRenderer& chat,
                                      std::size_t prompt) {
  return make_replays(tokenizer, chat, std::vector<std::int32_t>(prompt, 0));
}

}  // namespace thinkey
