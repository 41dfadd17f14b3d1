// jieba's default mode: the most probable path through the dictionary's words, then a hidden Markov
// model over what the dictionary left as single characters.
#include "eval/longbench/chinese_segmenter.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <system_error>
#include <unordered_map>
#include <utility>

#include "base/fail.h"
#include "base/mapped_file.h"
#include "eval/longbench/unicode_text.h"
#include "formats/json.h"

namespace thinkey::eval {
namespace {

constexpr const char* kDebianJieba = "/usr/lib/python3/dist-packages/jieba";
constexpr double kImpossible = -3.14e100;  // jieba's log probability of what its tables lack

// States of a character in a word, in the order of jieba's letters B, E, M, S, which breaks ties.
enum State : std::size_t { Begin, End, Middle, Single, kStates };
constexpr std::array<const char*, kStates> kLetters = {"B", "E", "M", "S"};
// What may stand before each state, the lower letter first.
constexpr std::array<std::array<State, 2>, kStates> kBefore = {
    {{End, Single}, {Begin, Middle}, {Begin, Middle}, {End, Single}}};

struct Hmm {
  std::array<double, kStates> start = {};
  std::array<std::array<double, kStates>, kStates> transition = {};  // [from][to]
  std::array<std::unordered_map<char32_t, double>, kStates> emission;

  [[nodiscard]] double emit(State state, char32_t c) const {
    const auto found = emission[state].find(c);
    return found == emission[state].end() ? kImpossible : found->second;
  }
};

struct Hash {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const noexcept { return std::hash<std::string_view>()(text); }
};

// Words with their counts, and with count 0 every beginning of a word.
struct Dictionary {
  std::unordered_map<std::string, std::int64_t, Hash, std::equal_to<>> counts;
  std::int64_t total = 0;

  // -1: neither a word nor the beginning of one.
  [[nodiscard]] std::int64_t count(std::string_view word) const {
    const auto found = counts.find(word);
    return found == counts.end() ? -1 : found->second;
  }
};

std::string_view text_of(const MappedFile& file) {
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

std::string_view trimmed(std::string_view line) {
  const auto is_blank = [](char c) { return c == ' ' || (c >= '\t' && c <= '\r'); };
  while (!line.empty() && is_blank(line.back())) line.remove_suffix(1);
  while (!line.empty() && is_blank(line.front())) line.remove_prefix(1);
  return line;
}

// Lines "WORD COUNT [TAG]".
Dictionary read_dictionary(const std::filesystem::path& path) {
  const MappedFile file(path);
  std::string_view text = text_of(file);
  Dictionary dictionary;
  constexpr std::size_t kBytesOfALine = 12;
  dictionary.counts.reserve(text.size() / kBytesOfALine);
  for (std::int64_t number = 1; !text.empty(); ++number) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = trimmed(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    const std::size_t space = line.find(' ');
    const std::string_view word = line.substr(0, space);
    const std::string_view rest = space == std::string_view::npos ? "" : line.substr(space + 1);
    const std::string_view digits = rest.substr(0, rest.find(' '));
    std::int64_t count = 0;
    const auto [stop, error] = std::from_chars(digits.data(), digits.data() + digits.size(), count);
    constexpr std::int64_t kMost = std::int64_t{1} << 40U;
    if (word.empty() || error != std::errc() || stop != digits.data() + digits.size() || count < 0 ||
        count > kMost) {
      fail_data("{} line {}: expected a word and its count, separated by one space", path.string(), number);
    }
    dictionary.counts.insert_or_assign(std::string(word), count);
    dictionary.total += count;
    for (std::size_t i = 1; i < word.size(); ++i) {
      const bool boundary = (static_cast<unsigned char>(word[i]) & 0xC0U) != 0x80U;
      if (boundary && dictionary.count(word.substr(0, i)) < 0) {
        dictionary.counts.emplace(word.substr(0, i), 0);
      }
    }
  }
  if (dictionary.total == 0) fail_data("{}: no words with a count above 0", path.string());
  return dictionary;
}

// The table P of one of jieba's Python modules, "P = {...}": a dict literal of strings and numbers, which
// is JSON but for its quotes.
Json read_table(const std::filesystem::path& path) {
  const MappedFile file(path);
  const std::string_view text = text_of(file);
  std::string literal(text.substr(std::min(text.find('{'), text.size())));
  std::replace(literal.begin(), literal.end(), '\'', '"');
  Json table = parse_json(literal, path, "table");
  if (!table.is_object()) fail_data("{}: expected a table P = {{...}}", path.string());
  return table;
}

double probability(const std::filesystem::path& path, const Json& value) {
  if (!value.is_number()) fail_data("{}: expected a number for every entry", path.string());
  return value.get<double>();
}

Hmm read_hmm(const std::filesystem::path& directory) {
  Hmm hmm;
  const auto paths = std::array{directory / "prob_start.py", directory / "prob_trans.py",  //
                                directory / "prob_emit.py"};
  const Json start = read_table(paths[0]);
  const Json transition = read_table(paths[1]);
  const Json emission = read_table(paths[2]);
  const auto entry = [](const std::filesystem::path& path, const Json& table, State state) -> const Json& {
    if (!table.contains(kLetters[state])) fail_data("{}: no entry {}", path.string(), kLetters[state]);
    return table[kLetters[state]];
  };
  for (const State state : {Begin, End, Middle, Single}) {
    hmm.start[state] = probability(paths[0], entry(paths[0], start, state));
    const Json& row = entry(paths[1], transition, state);
    for (const State to : {Begin, End, Middle, Single}) {
      hmm.transition[state][to] =
          row.contains(kLetters[to]) ? probability(paths[1], row[kLetters[to]]) : kImpossible;
    }
    const Json& characters = entry(paths[2], emission, state);
    if (!characters.is_object()) fail_data("{}: entry {} is not a table", paths[2].string(), kLetters[state]);
    for (const auto& [key, value] : characters.items()) {
      const std::u32string character = decode_text(key);
      if (character.size() != 1) fail_data("{}: \"{}\" is not one character", paths[2].string(), key);
      hmm.emission[state].emplace(character[0], probability(paths[2], value));
    }
  }
  return hmm;
}

bool is_alphanumeric(char32_t c) noexcept {
  return (c >= U'0' && c <= U'9') || (c >= U'a' && c <= U'z') || (c >= U'A' && c <= U'Z');
}
bool is_digit(char32_t c) noexcept { return c >= U'0' && c <= U'9'; }
bool is_han(char32_t c) noexcept { return c >= 0x4E00 && c <= 0x9FD5; }
// What jieba looks up in its dictionary; everything else is cut character by character.
bool is_dictionary_character(char32_t c) noexcept {
  return is_han(c) || is_alphanumeric(c) || std::u32string_view(U"+#&._%-").find(c) != std::u32string::npos;
}

// [begin, end of the run of characters on which `same` agrees with text[begin]).
template <typename Class>
std::size_t run_end(std::u32string_view text, std::size_t begin, const Class& same) {
  const bool kind = same(text[begin]);
  std::size_t end = begin + 1;
  while (end < text.size() && same(text[end]) == kind) ++end;
  return end;
}

using Words = std::vector<std::u32string>;

// The most probable states (Viterbi), as words.
void cut_han(const Hmm& hmm, std::u32string_view text, Words& words) {
  const std::size_t n = text.size();
  std::vector<std::array<double, kStates>> best(n);
  std::vector<std::array<State, kStates>> previous(n);
  for (const State state : {Begin, End, Middle, Single}) {
    best[0][state] = hmm.start[state] + hmm.emit(state, text[0]);
  }
  for (std::size_t t = 1; t < n; ++t) {
    for (const State state : {Begin, End, Middle, Single}) {
      const double emitted = hmm.emit(state, text[t]);
      const auto reach = [&](State from) {
        return best[t - 1][from] + hmm.transition[from][state] + emitted;
      };
      const auto [low, high] = kBefore[state];
      const State from = reach(high) >= reach(low) ? high : low;
      best[t][state] = reach(from);
      previous[t][state] = from;
    }
  }
  std::vector<State> states(n);
  states[n - 1] = best[n - 1][Single] >= best[n - 1][End] ? Single : End;
  for (std::size_t t = n - 1; t > 0; --t) states[t - 1] = previous[t][states[t]];

  std::size_t begin = 0;
  std::size_t next = 0;
  for (std::size_t i = 0; i < n; ++i) {
    if (states[i] == Begin) begin = i;
    if (states[i] == End) words.emplace_back(text.substr(begin, i + 1 - begin));
    if (states[i] == Single) words.emplace_back(1, text[i]);
    if (states[i] == End || states[i] == Single) next = i + 1;
  }
  if (next < n) words.emplace_back(text.substr(next));
}

// Numbers and Latin words, with decimals and a percent sign; what lies between them stays whole.
void cut_others(std::u32string_view text, Words& words) {
  std::size_t i = 0;
  while (i < text.size()) {
    std::size_t end = run_end(text, i, is_alphanumeric);
    if (is_alphanumeric(text[i])) {
      if (end + 1 < text.size() && text[end] == U'.' && is_digit(text[end + 1])) {
        end = run_end(text, end + 1, is_digit);
      }
      if (end < text.size() && text[end] == U'%') ++end;
    }
    words.emplace_back(text.substr(i, end - i));
    i = end;
  }
}

}  // namespace

struct ChineseSegmenter::Tables {
  Dictionary dictionary;
  Hmm hmm;

  // Text of dictionary characters only.
  void cut(std::u32string_view text, Words& words) const {
    std::string utf8;
    std::vector<std::size_t> offset = {0};  // of each character in utf8
    for (const char32_t c : text) {
      utf8 += encode_text({&c, 1});
      offset.push_back(utf8.size());
    }
    const auto bytes = [&](std::size_t begin, std::size_t end) {
      return std::string_view(utf8).substr(offset[begin], offset[end] - offset[begin]);
    };
    const std::vector<std::size_t> ends = most_probable_ends(text.size(), bytes);
    std::size_t singles = 0;  // characters before `i` that the path left alone
    for (std::size_t i = 0; i < text.size();) {
      const std::size_t end = ends[i];
      if (end - i == 1) {
        ++singles;
      } else {
        cut_singles(text.substr(i - singles, singles), bytes(i - singles, i), words);
        singles = 0;
        words.emplace_back(text.substr(i, end - i));
      }
      i = end;
    }
    cut_singles(text.substr(text.size() - singles), bytes(text.size() - singles, text.size()), words);
  }

 private:
  // For every position the end of the word that starts there on the most probable way to the end.
  template <typename Bytes>
  [[nodiscard]] std::vector<std::size_t> most_probable_ends(std::size_t n, const Bytes& bytes) const {
    const double log_total = std::log(static_cast<double>(dictionary.total));
    std::vector<double> best(n + 1, 0.0);
    std::vector<std::size_t> ends(n, 0);
    for (std::size_t i = n; i-- > 0;) {
      const auto consider = [&](std::size_t end, std::int64_t count) {
        const double score = std::log(static_cast<double>(std::max<std::int64_t>(count, 1))) - log_total +  //
                             best[end];
        if (ends[i] == 0 || score >= best[i]) {
          best[i] = score;
          ends[i] = end;
        }
      };
      for (std::size_t end = i + 1; end <= n; ++end) {
        const std::int64_t count = dictionary.count(bytes(i, end));
        if (count < 0) break;
        if (count > 0) consider(end, count);
      }
      if (ends[i] == 0) consider(i + 1, std::max<std::int64_t>(0, dictionary.count(bytes(i, i + 1))));
    }
    return ends;
  }

  // Neighbouring single characters may be a word the dictionary lacks.
  void cut_singles(std::u32string_view text, std::string_view utf8, Words& words) const {
    if (text.empty()) return;
    if (text.size() == 1) {
      words.emplace_back(text);
    } else if (dictionary.count(utf8) > 0) {
      for (const char32_t c : text) words.emplace_back(1, c);
    } else {
      for (std::size_t i = 0; i < text.size();) {
        const std::size_t end = run_end(text, i, is_han);
        if (is_han(text[i])) {
          cut_han(hmm, text.substr(i, end - i), words);
        } else {
          cut_others(text.substr(i, end - i), words);
        }
        i = end;
      }
    }
  }
};

ChineseSegmenter::ChineseSegmenter() : name_("single characters") {}
ChineseSegmenter::~ChineseSegmenter() = default;
ChineseSegmenter::ChineseSegmenter(ChineseSegmenter&&) noexcept = default;
ChineseSegmenter& ChineseSegmenter::operator=(ChineseSegmenter&&) noexcept = default;

ChineseSegmenter ChineseSegmenter::jieba(const std::filesystem::path& directory) {
  if (!std::filesystem::is_regular_file(directory / "dict.txt")) {
    fail_data("{}: no jieba there (dict.txt is missing); install python3-jieba and give its directory {}",
              directory.string(), kDebianJieba);
  }
  ChineseSegmenter segmenter;
  segmenter.tables_ = std::make_unique<const Tables>(
      Tables{.dictionary = read_dictionary(directory / "dict.txt"), .hmm = read_hmm(directory / "finalseg")});
  segmenter.name_ = fmt::format("jieba ({})", directory.string());
  return segmenter;
}

ChineseSegmenter ChineseSegmenter::installed() {
  std::error_code ignored;
  return std::filesystem::is_regular_file(std::filesystem::path(kDebianJieba) / "dict.txt", ignored)
             ? jieba(kDebianJieba)
             : ChineseSegmenter();
}

Words ChineseSegmenter::cut(std::u32string_view text) const {
  Words words;
  const auto kind = tables_ ? is_dictionary_character : is_alphanumeric;
  for (std::size_t i = 0; i < text.size();) {
    std::size_t end = kind(text[i]) ? run_end(text, i, kind) : i + 1;
    if (!kind(text[i])) {
      if (text.substr(i, 2) == U"\r\n") ++end;
      words.emplace_back(text.substr(i, end - i));
    } else if (tables_) {
      tables_->cut(text.substr(i, end - i), words);
    } else {
      words.emplace_back(text.substr(i, end - i));
    }
    i = end;
  }
  return words;
}

}  // namespace thinkey::eval
