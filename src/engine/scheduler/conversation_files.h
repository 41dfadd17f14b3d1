// Conversations on disk: those that memory had no room for, found again by their tokens, also by the next
// process. Used by one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/scheduler/conversations.h"

namespace thinkey {

class ConversationFiles {
 public:
  // Makes the directory and looks at what is there: files of this model; others stay untouched. A directory
  // may be `limit` bytes large; beyond, those go that have not been used for longest. Error(Data).
  ConversationFiles(std::filesystem::path directory, std::uint64_t fingerprint, std::size_t limit);

  // Looks again at what is there, where other processes write to the directory too.
  void refresh();

  struct Entry {
    std::filesystem::path path;
    CacheSpec asked;  // of requests that it serves
    std::vector<std::int32_t> tokens;
    std::size_t bytes = 0;
  };

  // The file that saves most of a prompt, if it saves more than `more_than` tokens of it; null: none. Whether
  // a part of it can be used is known when it is loaded. Valid until the next call of save() or load().
  [[nodiscard]] const Entry* find(const CacheSpec& spec, std::span<const std::int32_t> prompt,
                                  std::size_t more_than) const;
  // Atomic: whatever happens, there is a whole file or none. Files of conversations that this one continues,
  // and whose every use it can serve, go. Error(Data).
  void save(const Conversation& conversation);
  // Of the file at `path`, if it is still known. Null where it is not, or is damaged; it is deleted then.
  [[nodiscard]] std::unique_ptr<Conversation> load(const std::filesystem::path& path, KvMemory& memory,
                                                   const CacheShape& shape);

  // A file by its name in slots/. Error(Usage) for a name that could lead elsewhere, Error(Data) where there
  // is none or it is damaged.
  void save_as(const Conversation& conversation, const std::string& name) const;
  [[nodiscard]] std::unique_ptr<Conversation> load_named(const std::string& name, KvMemory& memory,
                                                         const CacheShape& shape) const;
  [[nodiscard]] std::size_t named_bytes(const std::string& name) const;

  [[nodiscard]] std::size_t size() const noexcept { return entries_.size(); }

 private:
  [[nodiscard]] std::filesystem::path named(const std::string& name) const;
  [[nodiscard]] std::list<Entry>::iterator find(const std::filesystem::path& path);
  void look_at(const std::filesystem::path& path,
               std::vector<std::pair<std::filesystem::file_time_type, Entry>>& found) const;
  void add(Entry entry);
  void forget(std::list<Entry>::iterator entry);
  void shrink();

  std::filesystem::path directory_;
  std::uint64_t fingerprint_;
  std::size_t limit_;
  std::size_t bytes_ = 0;
  std::list<Entry> entries_;  // oldest first
  struct Known {
    std::list<Entry>::iterator entry;  // the end: not of this model or version, or damaged
    std::uint64_t listing = 0;         // the last that had it
  };
  struct NameHash {
    using is_transparent = void;
    std::size_t operator()(std::string_view name) const { return std::hash<std::string_view>{}(name); }
  };
  std::unordered_map<std::string, Known, NameHash, std::equal_to<>> known_;  // by name in the directory
  std::uint64_t listing_ = 0;
};

}  // namespace thinkey
