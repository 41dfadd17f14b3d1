#include "engine/scheduler/conversations.h"

#include <algorithm>
#include <utility>

namespace thinkey {

std::size_t common_prefix(std::span<const std::int32_t> a, std::span<const std::int32_t> b) noexcept {
  const auto n = static_cast<std::ptrdiff_t>(std::min(a.size(), b.size()));
  return static_cast<std::size_t>(std::mismatch(a.begin(), a.begin() + n, b.begin()).first - a.begin());
}

Match match_of(Conversation& conversation, std::span<const std::int32_t> prompt) {
  if (prompt.empty() || conversation.tokens.empty()) return {};
  const std::size_t held = conversation.tokens.size();
  const std::size_t shared = std::min(common_prefix(conversation.tokens, prompt), prompt.size() - 1);
  if (shared == held) return {.conversation = &conversation, .tokens = shared, .whole = true};
  if (shared < Conversations::kLeastPrefix || conversation.question_dependent() ||
      !conversation.cache.can_fork(static_cast<std::int64_t>(shared))) {
    return {};
  }
  return {.conversation = &conversation, .tokens = shared, .whole = false};
}

Match Conversations::find(const CacheSpec& spec, std::span<const std::int32_t> prompt) const {
  Match best;
  for (const auto& kept : kept_) {
    if (kept->asked != spec) continue;
    const Match match = match_of(*kept, prompt);
    if (match.tokens > best.tokens || (match.tokens == best.tokens && match.whole)) best = match;
  }
  return best.tokens > 0 ? best : Match{};
}

bool continues(const Conversation& conversation, std::span<const std::int32_t> older) {
  const std::vector<std::int32_t>& tokens = conversation.tokens;
  return older.size() <= tokens.size() && std::equal(older.begin(), older.end(), tokens.begin()) &&
         (older.size() == tokens.size() ||
          (!conversation.question_dependent() &&
           conversation.cache.can_fork(static_cast<std::int64_t>(older.size()))));
}

void Conversations::keep(std::unique_ptr<Conversation> conversation) {
  std::erase_if(kept_, [&](const std::unique_ptr<Conversation>& older) {
    return older->asked == conversation->asked && continues(*conversation, older->tokens);
  });
  conversation->id = ++next_id_;
  kept_.push_back(std::move(conversation));
}

std::unique_ptr<Conversation> Conversations::take(const Conversation* conversation) {
  const auto at =
      std::find_if(kept_.begin(), kept_.end(), [&](const auto& kept) { return kept.get() == conversation; });
  if (at == kept_.end()) return nullptr;
  std::unique_ptr<Conversation> taken = std::move(*at);
  kept_.erase(at);
  return taken;
}

void Conversations::touch(const Conversation* conversation) {
  const auto at =
      std::find_if(kept_.begin(), kept_.end(), [&](const auto& kept) { return kept.get() == conversation; });
  if (at != kept_.end()) kept_.splice(kept_.end(), kept_, at);
}

std::unique_ptr<Conversation> Conversations::take_oldest(const Conversation* except) {
  for (const auto& kept : kept_) {
    if (kept.get() != except) return take(kept.get());
  }
  return nullptr;
}

Conversation* Conversations::oldest_whole(const Conversation* except) const {
  constexpr std::size_t kLeastTokens = 256;  // the latest stay in 16 bits anyway
  for (const auto& kept : kept_) {
    if (kept.get() != except && kept->spec() == CacheSpec{} && kept->tokens.size() >= kLeastTokens) {
      return kept.get();
    }
  }
  return nullptr;
}

Conversation* Conversations::by_id(std::uint64_t id) const {
  for (const auto& kept : kept_) {
    if (kept->id == id) return kept.get();
  }
  return nullptr;
}

}  // namespace thinkey
