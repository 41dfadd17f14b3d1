#include "tokenizer/set_scanner.h"

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>

#include "tokenizer/characters.h"

namespace thinkey {
namespace {

constexpr std::string_view kSpace = R"(\s?)";

// Takes one character from the front of a set's text; nullopt where it has another meaning.
std::optional<char32_t> take_character(std::string_view& set) {
  const char first = set.front();
  if (static_cast<unsigned char>(first) >= 128 || first == '[' || first == ']') return std::nullopt;
  set.remove_prefix(1);
  if (first != '\\') return static_cast<unsigned char>(first);
  if (set.empty()) return std::nullopt;
  const char escaped = set.front();
  if (escaped == 'r' || escaped == 'n') {
    set.remove_prefix(1);
    return escaped == 'r' ? U'\r' : U'\n';
  }
  const std::size_t brace = set.find('}');
  if (!set.starts_with("x{") || brace == std::string_view::npos) return std::nullopt;
  std::uint32_t code = 0;
  const auto [stop, error] = std::from_chars(set.data() + 2, set.data() + brace, code, 16);
  if (error != std::errc() || stop != set.data() + brace || code > 0x10FFFF) return std::nullopt;
  set.remove_prefix(brace + 1);
  return code;
}

}  // namespace

std::optional<SetScanner> SetScanner::for_expression(std::string_view expression) {
  SetScanner out;
  if (expression.starts_with(kSpace)) {
    out.after_space_ = true;
    expression.remove_prefix(kSpace.size());
  }
  if (expression.ends_with('+')) {
    out.repeats_ = true;
    expression.remove_suffix(1);
  }
  if (!expression.starts_with('[') || !expression.ends_with(']')) return std::nullopt;
  std::string_view set = expression.substr(1, expression.size() - 2);
  const bool intersects = set.find("&&") != std::string_view::npos;
  if (set.empty() || set.front() == '^' || intersects) return std::nullopt;
  while (!set.empty()) {
    const std::optional<char32_t> first = take_character(set);
    std::optional<char32_t> last = first;
    if (set.size() > 1 && set.front() == '-') {
      set.remove_prefix(1);
      last = take_character(set);
    }
    if (!first || !last || *last < *first) return std::nullopt;
    for (char32_t c = *first; c <= *last && c < out.ascii_.size(); ++c) out.ascii_[c] = true;
    if (*last >= out.ascii_.size()) out.ranges_.push_back({*first, *last});
  }
  std::sort(out.ranges_.begin(), out.ranges_.end(),
            [](const Range& a, const Range& b) { return a.first < b.first; });
  std::vector<Range> joined;  // ranges may overlap
  for (const Range& range : out.ranges_) {
    if (!joined.empty() && range.first <= joined.back().last) {
      joined.back().last = std::max(joined.back().last, range.last);
    } else {
      joined.push_back(range);
    }
  }
  out.ranges_ = std::move(joined);
  for (std::size_t byte = 0; byte < out.begins_.size(); ++byte) {
    const bool ascii = byte < out.ascii_.size();
    out.begins_[byte] = ascii
                            ? out.ascii_[byte] || (out.after_space_ && is_space(static_cast<char32_t>(byte)))
                            : byte >= 0xC0;  // the first of another character, whichever
  }
  return out;
}

std::size_t SetScanner::wide_member(const char* at) const noexcept {
  const DecodedCharacter character = decode_character(at);
  const auto after = std::upper_bound(ranges_.begin(), ranges_.end(), character.code,
                                      [](char32_t code, const Range& range) { return code < range.first; });
  return after != ranges_.begin() && character.code <= (after - 1)->last ? character.bytes : 0;
}

std::size_t SetScanner::match(const char* at, const char* end) const noexcept {
  std::size_t bytes = 0;
  if (after_space_) {
    const ClassStep step = next_class(at);
    const bool space = step.cls == CharacterClass::Space || step.cls == CharacterClass::Newline;
    if (space && at + step.bytes < end && member(at + step.bytes) > 0) bytes = step.bytes;
  }
  const std::size_t first = member(at + bytes);
  if (first == 0) return 0;
  bytes += first;
  while (repeats_ && at + bytes < end) {
    const std::size_t more = member(at + bytes);
    if (more == 0) break;
    bytes += more;
  }
  return bytes;
}

void SetScanner::split(std::string_view text, std::vector<std::string_view>& words) const {
  const char* const end = text.data() + text.size();
  const char* between = text.data();  // where what lies before the next match begins
  for (const char* at = between; at < end;) {
    if (!begins_[static_cast<unsigned char>(*at)]) {
      ++at;
      continue;
    }
    const std::size_t bytes = match(at, end);
    if (bytes == 0) {
      at += decode_character(at).bytes;
      continue;
    }
    if (at > between) words.emplace_back(between, static_cast<std::size_t>(at - between));
    words.emplace_back(at, bytes);
    at += bytes;
    between = at;
  }
  if (end > between) words.emplace_back(between, static_cast<std::size_t>(end - between));
}

}  // namespace thinkey
