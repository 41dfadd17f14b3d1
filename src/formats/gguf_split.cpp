#include "formats/gguf_split.h"

#include <algorithm>
#include <cstdint>
#include <string_view>

#include "base/fail.h"
#include "formats/file_exists.h"
#include "formats/printable.h"

namespace thinkey {
namespace {

constexpr std::int64_t kMaxParts = 4096;

struct Split {
  std::int64_t number = 0;  // from 0
  std::int64_t count = 1;
};

// 0 and 1 parts both mean that the file is whole.
Split read_split(const GgufFile& file) {
  const Split split{file.integer("split.no").value_or(0),
                    std::max<std::int64_t>(1, file.integer("split.count").value_or(1))};
  if (split.count > kMaxParts || split.number < 0 || split.number >= split.count) {
    fail_data("{}: split.no {} and split.count {} are not those of one of at most {} parts",
              file.path().string(), split.number, split.count, kMaxParts);
  }
  return split;
}

std::string ending(std::int64_t number, std::int64_t count) {
  return fmt::format("-{:05}-of-{:05}.gguf", number + 1, count);
}

// The path of another part; nullopt when the file is not named as the format asks.
std::optional<std::filesystem::path> part_path(const GgufFile& file, const Split& split,
                                               std::int64_t number) {
  std::string name = file.path().filename().string();
  const std::string end = ending(split.number, split.count);
  if (!name.ends_with(end)) return std::nullopt;
  name.resize(name.size() - end.size());
  return file.path().parent_path() / (name + ending(number, split.count));
}

// A later part repeats nothing that the first one does not say.
void check_metadata(const GgufFile& part, const GgufFile& first) {
  for (const GgufValue& value : part.values()) {
    if (value.key.starts_with("split.")) continue;
    const GgufValue* same = first.find(value.key);
    if (same == nullptr || same->type != value.type || !std::ranges::equal(same->bytes, value.bytes)) {
      fail_data("{}: metadata {} differs from the first part's; these are not parts of one model",
                part.path().string(), printable(value.key));
    }
  }
}

}  // namespace

void refuse_later_part(const GgufFile& file) {
  const Split split = read_split(file);
  if (split.number == 0) return;
  const auto first = part_path(file, split, 0);
  fail_data("{}: is part {} of {} of a split model; open the first part{}{} instead", file.path().string(),
            split.number + 1, split.count, first ? ", " : "", first ? first->filename().string() : "");
}

GgufParts::GgufParts(const std::filesystem::path& path) {
  files_.emplace_back(path);
  refuse_later_part(first());
  const Split split = read_split(first());
  if (split.count == 1) return;

  std::vector<std::filesystem::path> paths;
  std::vector<std::string> missing;
  for (std::int64_t i = 1; i < split.count; ++i) {
    auto part = part_path(first(), split, i);
    if (!part) {
      fail_data(
          "{}: is the first of {} parts of a split model, but is not called NAME{}; rename all parts so",
          path.string(), split.count, ending(0, split.count));
    }
    if (!file_exists(*part)) missing.push_back(part->filename().string());
    paths.push_back(*std::move(part));
  }
  if (!missing.empty()) {
    fail_data("{}: {} of the {} parts of this split model {} not beside it: {}{}", path.string(),
              missing.size(), split.count, missing.size() == 1 ? "is" : "are", missing.front(),
              missing.size() == 1 ? "" : ", ...");
  }
  for (const std::filesystem::path& part : paths) {
    const GgufFile& file = files_.emplace_back(part);
    const Split found = read_split(file);
    const auto number = static_cast<std::int64_t>(files_.size()) - 1;
    if (found.number != number || found.count != split.count) {
      fail_data("{}: says that it is part {} of {}, but its name that it is part {} of {}", part.string(),
                found.number + 1, found.count, number + 1, split.count);
    }
    check_metadata(file, first());
  }
  std::size_t tensors = 0;
  for (const GgufFile& file : files_) tensors += file.tensors().size();
  for (const GgufFile& file : files_) {
    const auto wanted = file.integer("split.tensors.count");
    if (wanted && *wanted != static_cast<std::int64_t>(tensors)) {
      fail_data("{}: the parts hold {} tensors where split.tensors.count says {}", file.path().string(),
                tensors, *wanted);
    }
  }
}

std::size_t GgufParts::file_bytes() const noexcept {
  std::size_t bytes = 0;
  for (const GgufFile& file : files_) bytes += file.file_bytes();
  return bytes;
}

std::string GgufParts::container() const {
  const std::string parts = files_.size() == 1 ? "" : fmt::format(", {} parts", files_.size());
  return fmt::format("GGUF v{}{}", first().version(), parts);
}

std::pair<const GgufFile*, const GgufTensor*> GgufParts::find(const std::string& name) const noexcept {
  for (const GgufFile& file : files_) {
    for (const GgufTensor& tensor : file.tensors()) {
      if (tensor.name == name) return {&file, &tensor};
    }
  }
  return {nullptr, nullptr};
}

}  // namespace thinkey
