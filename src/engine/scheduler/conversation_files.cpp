#include "engine/scheduler/conversation_files.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <system_error>
#include <utility>

#include "base/fail.h"
#include "cache/cache_file.h"
#include "formats/printable.h"

namespace thinkey {
namespace {

constexpr std::string_view kSuffix = ".conversation";
constexpr std::size_t kLongestName = 100;

// What a cache file carries beside the cache: the spec as requests asked for it, of which the cache's own may
// be what became of it (a budget resolved, a full cache quantized), and the tokens.
struct Attachment {
  CacheSpec asked;
  std::vector<std::int32_t> tokens;
};

constexpr std::uint32_t kAttachment = 0xC0DE0001U;  // no token begins like it: files before had tokens alone

std::vector<std::byte> attachment_of(const Conversation& conversation) {
  const std::string asked = conversation.asked.to_string();
  const std::array<std::uint32_t, 2> head = {kAttachment, static_cast<std::uint32_t>(asked.size())};
  const auto tokens = std::as_bytes(std::span(conversation.tokens));
  std::vector<std::byte> out(sizeof(head) + asked.size() + tokens.size());
  std::memcpy(out.data(), head.data(), sizeof(head));
  std::memcpy(out.data() + sizeof(head), asked.data(), asked.size());
  if (!tokens.empty()) std::memcpy(out.data() + sizeof(head) + asked.size(), tokens.data(), tokens.size());
  return out;
}

// Error(Data) where it is none.
Attachment read_attachment(std::span<const std::byte> bytes, const std::filesystem::path& path) {
  std::array<std::uint32_t, 2> head{};
  if (bytes.size() >= sizeof(head)) std::memcpy(head.data(), bytes.data(), sizeof(head));
  const auto [kind, length] = head;
  if (kind != kAttachment || length > bytes.size() - sizeof(head)) {
    fail_data("{}: not a conversation that a server of this version saved", path.string());
  }
  const auto text = bytes.subspan(sizeof(head), length);
  const auto tokens = bytes.subspan(sizeof(head) + length);
  Attachment out;
  try {
    out.asked = CacheSpec::parse({reinterpret_cast<const char*>(text.data()), text.size()});
  } catch (const Error&) {
    fail_data("{}: damaged conversation: its cache spec is none", path.string());
  }
  out.tokens.resize(tokens.size() / sizeof(std::int32_t));
  if (!out.tokens.empty()) {
    std::memcpy(out.tokens.data(), tokens.data(), out.tokens.size() * sizeof(std::int32_t));
  }
  return out;
}

std::unique_ptr<Conversation> read_conversation(const std::filesystem::path& path, std::uint64_t fingerprint,
                                                KvMemory& memory, const CacheShape& shape) {
  auto conversation = std::make_unique<Conversation>(memory, shape, summarize_cache(path).spec);
  LoadedCache loaded = load_cache(path, shape, fingerprint, conversation->counter());
  Attachment attachment = read_attachment(loaded.attachment, path);
  conversation->asked = attachment.asked;
  conversation->tokens = std::move(attachment.tokens);
  conversation->cache = std::move(loaded.cache);
  if (conversation->cache.next_position(0) != static_cast<std::int64_t>(conversation->tokens.size())) {
    fail_data("{}: damaged conversation: its cache holds other tokens than it says", path.string());
  }
  return conversation;
}

// The same conversation has the same name, whoever saves it.
std::string name_of(const Conversation& conversation, std::uint64_t fingerprint) {
  XXH3_state_t state;
  XXH3_128bits_reset(&state);
  const std::string text = conversation.spec().to_string();
  const std::vector<std::byte> attachment = attachment_of(conversation);
  XXH3_128bits_update(&state, text.data(), text.size());
  XXH3_128bits_update(&state, &fingerprint, sizeof(fingerprint));
  XXH3_128bits_update(&state, attachment.data(), attachment.size());
  const XXH128_hash_t hash = XXH3_128bits_digest(&state);
  return fmt::format("{:016x}{:016x}{}", hash.high64, hash.low64, kSuffix);
}

}  // namespace

ConversationFiles::ConversationFiles(std::filesystem::path directory, std::uint64_t fingerprint,
                                     std::size_t limit)
    : directory_(std::move(directory)), fingerprint_(fingerprint), limit_(limit) {
  std::error_code error;
  std::filesystem::create_directories(directory_ / "slots", error);
  if (error) fail_data("{}: cannot make the cache directory: {}", directory_.string(), error.message());
  std::vector<std::pair<std::filesystem::file_time_type, Entry>> found;
  for (const auto& file : std::filesystem::directory_iterator(directory_, error)) {
    if (!file.is_regular_file(error) || file.path().extension() != kSuffix) continue;
    try {
      const CacheFileSummary summary = summarize_cache(file.path());
      if (summary.fingerprint != fingerprint_) continue;
      Attachment attachment = read_attachment(summary.attachment, file.path());
      found.emplace_back(file.last_write_time(error), Entry{.path = file.path(),
                                                            .asked = attachment.asked,
                                                            .tokens = std::move(attachment.tokens),
                                                            .bytes = file.file_size(error)});
    } catch (const Error&) {
      continue;  // of another version, or damaged: not ours to delete
    }
  }
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  for (auto& [time, entry] : found) {
    bytes_ += entry.bytes;
    entries_.push_back(std::move(entry));
  }
  shrink();
}

const ConversationFiles::Entry* ConversationFiles::find(const CacheSpec& spec,
                                                        std::span<const std::int32_t> prompt,
                                                        std::size_t more_than) const {
  const Entry* best = nullptr;
  for (const Entry& entry : entries_) {
    if (entry.asked != spec) continue;
    const std::size_t shared = std::min(common_prefix(entry.tokens, prompt), prompt.size() - 1);
    const bool whole = shared == entry.tokens.size();
    if (shared <= more_than) continue;
    if (!whole && (shared < Conversations::kLeastPrefix || spec.question_dependent())) continue;
    best = &entry;
    more_than = shared;
  }
  return best;
}

void ConversationFiles::save(const Conversation& conversation) {
  const std::filesystem::path path = directory_ / name_of(conversation, fingerprint_);
  const auto same =
      std::find_if(entries_.begin(), entries_.end(), [&](const Entry& entry) { return entry.path == path; });
  if (same != entries_.end()) {  // what a file of that name holds, this would write
    entries_.splice(entries_.end(), entries_, same);
    std::error_code error;
    std::filesystem::last_write_time(path, std::filesystem::file_time_type::clock::now(), error);
    return;
  }
  save_cache(path, conversation.cache, fingerprint_, attachment_of(conversation));
  std::error_code error;
  const std::uintmax_t bytes = std::filesystem::file_size(path, error);
  entries_.push_back({.path = path,
                      .asked = conversation.asked,
                      .tokens = conversation.tokens,
                      .bytes = error ? 0 : static_cast<std::size_t>(bytes)});
  bytes_ += entries_.back().bytes;
  shrink();
}

std::unique_ptr<Conversation> ConversationFiles::load(const std::filesystem::path& path, KvMemory& memory,
                                                      const CacheShape& shape) {
  const auto at =
      std::find_if(entries_.begin(), entries_.end(), [&](const Entry& other) { return other.path == path; });
  if (at == entries_.end()) return nullptr;
  try {
    auto conversation = read_conversation(path, fingerprint_, memory, shape);
    entries_.splice(entries_.end(), entries_, at);
    std::error_code error;
    std::filesystem::last_write_time(path, std::filesystem::file_time_type::clock::now(), error);
    return conversation;
  } catch (const Error&) {
    forget(at);
    return nullptr;
  }
}

void ConversationFiles::forget(std::list<Entry>::iterator entry) {
  std::error_code error;
  std::filesystem::remove(entry->path, error);
  bytes_ -= entry->bytes;
  entries_.erase(entry);
}

void ConversationFiles::shrink() {
  while (bytes_ > limit_ && !entries_.empty()) forget(entries_.begin());
}

std::filesystem::path ConversationFiles::named(const std::string& name) const {
  const bool plain = !name.empty() && name.size() <= kLongestName && name.front() != '.' &&
                     std::all_of(name.begin(), name.end(), [](char c) {
                       return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                              c == '.' || c == '-' || c == '_';
                     });
  if (!plain) {
    fail_usage(
        "\"{}\" is not a file name: letters, digits, dots, hyphens and underscores, at most {} of them, no "
        "dot "
        "in front",
        printable(name, 40), kLongestName);
  }
  return directory_ / "slots" / name;
}

void ConversationFiles::save_as(const Conversation& conversation, const std::string& name) const {
  save_cache(named(name), conversation.cache, fingerprint_, attachment_of(conversation));
}

std::size_t ConversationFiles::named_bytes(const std::string& name) const {
  std::error_code error;
  const std::uintmax_t bytes = std::filesystem::file_size(named(name), error);
  if (error) fail_usage("there is no saved conversation \"{}\"", name);
  return static_cast<std::size_t>(bytes);
}

std::unique_ptr<Conversation> ConversationFiles::load_named(const std::string& name, KvMemory& memory,
                                                            const CacheShape& shape) const {
  return read_conversation(named(name), fingerprint_, memory, shape);
}

}  // namespace thinkey
