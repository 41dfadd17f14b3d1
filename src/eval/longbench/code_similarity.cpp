// fuzzywuzzy's fuzz.ratio, in the two implementations it may be running on.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "eval/longbench/longbench_metrics.h"
#include "eval/longbench/unicode_text.h"

namespace thinkey::eval {
namespace {

// Python's difflib.SequenceMatcher(None, a, b): matching blocks after Ratcliff and Obershelp, the longest
// first, the earliest in a and then in b where several are as long.
class BlockMatcher {
 public:
  BlockMatcher(std::u32string_view a, std::u32string_view b) : a_(a), b_(b), lengths_(b.size() + 1, 0) {
    for (std::size_t j = 0; j < b.size(); ++j) places_[b[j]].push_back(j);
    // In long texts, characters that make up more than one percent do not start a match.
    constexpr std::size_t kLong = 200;
    if (b.size() >= kLong) {
      std::erase_if(places_, [&](const auto& entry) { return entry.second.size() > b.size() / 100 + 1; });
    }
  }

  // Characters in matching blocks.
  [[nodiscard]] std::size_t matches() {
    std::size_t total = 0;
    std::vector<Range> open = {{0, a_.size(), 0, b_.size()}};
    while (!open.empty()) {
      const Range range = open.back();
      open.pop_back();
      const Block block = longest(range);
      if (block.size == 0) continue;
      total += block.size;
      open.push_back({range.a_begin, block.a, range.b_begin, block.b});
      open.push_back({block.a + block.size, range.a_end, block.b + block.size, range.b_end});
    }
    return total;
  }

 private:
  struct Range {
    std::size_t a_begin, a_end, b_begin, b_end;
  };
  struct Block {
    std::size_t a, b, size;
  };

  Block longest(const Range& range) {
    Block best{range.a_begin, range.b_begin, 0};
    // lengths_[j + 1]: length of the match that ends at a[i] and b[j], for the previous i.
    std::vector<std::pair<std::size_t, std::size_t>> previous;  // the entries that are not 0, as (j, length)
    std::vector<std::pair<std::size_t, std::size_t>> current;
    for (std::size_t i = range.a_begin; i < range.a_end; ++i) {
      current.clear();
      if (const auto found = places_.find(a_[i]); found != places_.end()) {
        for (const std::size_t j : found->second) {
          if (j < range.b_begin) continue;
          if (j >= range.b_end) break;
          const std::size_t length = lengths_[j] + 1;
          current.emplace_back(j, length);
          if (length > best.size) best = {i + 1 - length, j + 1 - length, length};
        }
      }
      for (const auto& entry : previous) lengths_[entry.first + 1] = 0;
      for (const auto& [j, length] : current) lengths_[j + 1] = length;
      std::swap(previous, current);
    }
    for (const auto& entry : previous) lengths_[entry.first + 1] = 0;
    // Frequent characters may continue a match.
    while (best.a > range.a_begin && best.b > range.b_begin && a_[best.a - 1] == b_[best.b - 1]) {
      best = {best.a - 1, best.b - 1, best.size + 1};
    }
    while (best.a + best.size < range.a_end && best.b + best.size < range.b_end &&
           a_[best.a + best.size] == b_[best.b + best.size]) {
      ++best.size;
    }
    return best;
  }

  std::u32string_view a_, b_;
  std::unordered_map<char32_t, std::vector<std::size_t>> places_;  // in b, ascending
  std::vector<std::size_t> lengths_;
};

double difflib_ratio(std::u32string_view a, std::u32string_view b) {
  return 2.0 * static_cast<double>(BlockMatcher(a, b).matches()) / static_cast<double>(a.size() + b.size());
}

// Insertions and deletions that turn a into b: all but the longest common subsequence, on both sides.
double levenshtein_ratio(std::u32string_view a, std::u32string_view b) {
  std::vector<std::size_t> row(b.size() + 1, 0);
  for (const char32_t c : a) {
    std::size_t diagonal = 0;
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t above = row[j + 1];
      row[j + 1] = c == b[j] ? diagonal + 1 : std::max(above, row[j]);
      diagonal = above;
    }
  }
  const std::size_t both = a.size() + b.size();
  return 1.0 - static_cast<double>(both - 2 * row.back()) / static_cast<double>(both);
}

// The first line without the marks of Markdown and comments; nothing if there is none.
std::u32string_view first_line_of_code(std::u32string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of(U'\n'), text.size()));
  for (const std::u32string_view line : split_at(text, U'\n')) {
    if (line.find_first_of(U"`#") == std::u32string_view::npos &&
        line.find(U"//") == std::u32string_view::npos) {
      return line;
    }
  }
  return {};
}

}  // namespace

double code_similarity(std::string_view prediction, std::string_view reference, EditRatio ratio) {
  const std::u32string text = decode_text(prediction);
  const std::u32string wanted = decode_text(reference);
  const std::u32string_view line = first_line_of_code(text);
  if (line == wanted) return 1.0;
  if (line.empty() || wanted.empty()) return 0.0;
  const double share =
      ratio == EditRatio::Difflib ? difflib_ratio(line, wanted) : levenshtein_ratio(line, wanted);
  return std::nearbyint(100 * share) / 100;  // halves to even, as Python rounds
}

}  // namespace thinkey::eval
