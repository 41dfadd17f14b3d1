#include "engine/scheduler/conversation_files.h"

#include <dirent.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <string_view>
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
  const auto length = static_cast<std::uint32_t>(asked.size());
  const std::array<std::uint32_t, 2> head = {kAttachment, length};
  const std::span<const std::byte> parts[] = {std::as_bytes(std::span(head)), std::as_bytes(std::span(asked)),
                                              std::as_bytes(std::span(conversation.tokens))};
  std::vector<std::byte> out(parts[0].size() + parts[1].size() + parts[2].size());
  auto to = out.begin();
  for (const std::span<const std::byte> part : parts) to = std::ranges::copy(part, to).out;
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
  refresh();
  shrink();
}

// Before every request where the directory is shared, so a name that is known costs one look at a table and
// nothing else: no call of the system, which over a network would be a message.
void ConversationFiles::refresh() {
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir(directory_.c_str()), ::closedir);
  if (!directory) return;  // a network's moment; what is gone is noticed when it is loaded
  ++listing_;
  std::size_t here = 0;
  std::vector<std::pair<std::filesystem::file_time_type, Entry>> found;
  bool whole = false;
  while (true) {
    errno = 0;
    const dirent* file = ::readdir(directory.get());
    if (file == nullptr) {
      whole = errno == 0;
      break;
    }
    const std::string_view name = file->d_name;
    if (!name.ends_with(kSuffix)) continue;
    const auto at = known_.find(name);
    if (at == known_.end()) {
      known_.emplace(name, Known{.entry = entries_.end(), .listing = listing_});
      look_at(directory_ / name, found);
    } else if (std::exchange(at->second.listing, listing_) == listing_) {
      continue;  // some file systems tell a name twice while others come and go
    }
    ++here;
  }
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  for (auto& [time, entry] : found) add(std::move(entry));
  if (!whole || here == known_.size()) return;
  std::erase_if(known_, [&](const auto& known) {
    if (known.second.listing == listing_) return false;
    if (known.second.entry != entries_.end()) {
      bytes_ -= known.second.entry->bytes;
      entries_.erase(known.second.entry);
    }
    return true;
  });
}

// One more of those found, if a conversation of this model is in the file.
void ConversationFiles::look_at(const std::filesystem::path& path,
                                std::vector<std::pair<std::filesystem::file_time_type, Entry>>& found) const {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) return;
  try {
    const CacheFileSummary summary = summarize_cache(path);
    if (summary.fingerprint != fingerprint_) return;
    Attachment attachment = read_attachment(summary.attachment, path);
    const std::uintmax_t bytes = std::filesystem::file_size(path, error);
    found.emplace_back(std::filesystem::last_write_time(path, error),
                       Entry{.path = path,
                             .asked = attachment.asked,
                             .tokens = std::move(attachment.tokens),
                             .bytes = error ? 0 : static_cast<std::size_t>(bytes)});
  } catch (const Error&) {  // of another version, or damaged: not ours to delete
  }
}

void ConversationFiles::add(Entry entry) {
  bytes_ += entry.bytes;
  entries_.push_back(std::move(entry));
  const auto at = std::prev(entries_.end());
  known_.insert_or_assign(at->path.filename().string(), Known{.entry = at, .listing = listing_});
}

std::list<ConversationFiles::Entry>::iterator ConversationFiles::find(const std::filesystem::path& path) {
  const auto at = known_.find(path.filename().string());
  return at == known_.end() ? entries_.end() : at->second.entry;
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
  const auto same = find(path);
  if (same != entries_.end()) {  // what a file of that name holds, this would write
    entries_.splice(entries_.end(), entries_, same);
    std::error_code error;
    std::filesystem::last_write_time(path, std::filesystem::file_time_type::clock::now(), error);
    return;
  }
  save_cache(path, conversation.cache, fingerprint_, attachment_of(conversation));
  for (auto older = entries_.begin(); older != entries_.end();) {
    const auto at = older++;
    if (at->asked == conversation.asked && continues(conversation, at->tokens)) forget(at);
  }
  std::error_code error;
  const std::uintmax_t bytes = std::filesystem::file_size(path, error);
  add({.path = path,
       .asked = conversation.asked,
       .tokens = conversation.tokens,
       .bytes = error ? 0 : static_cast<std::size_t>(bytes)});
  shrink();
}

std::unique_ptr<Conversation> ConversationFiles::load(const std::filesystem::path& path, KvMemory& memory,
                                                      const CacheShape& shape) {
  const auto at = find(path);
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
  known_.erase(entry->path.filename().string());
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
