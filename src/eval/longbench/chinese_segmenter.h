// Chinese text into words, for LongBench's Chinese metrics. The official script uses jieba, whose
// dictionary is not part of this project: it is read from an installed jieba (Debian's python3-jieba, or
// the PyPI package), and then the words are jieba's. Without it every Chinese character is a word of its
// own, and scores are not comparable with published ones.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace thinkey::eval {

class ChineseSegmenter {
 public:
  // Each Chinese character by itself; runs of letters and digits stay whole.
  ChineseSegmenter();
  // jieba's default mode (`jieba.cut(text)`: dictionary and HMM) with the tables of an installed jieba:
  // directory/dict.txt and directory/finalseg/prob_{start,trans,emit}.py. Throws Error(Data).
  [[nodiscard]] static ChineseSegmenter jieba(const std::filesystem::path& directory);
  // jieba where Debian's package puts it, if it is there; otherwise characters.
  [[nodiscard]] static ChineseSegmenter installed();

  ~ChineseSegmenter();
  ChineseSegmenter(ChineseSegmenter&&) noexcept;
  ChineseSegmenter& operator=(ChineseSegmenter&&) noexcept;

  // The words of `text` in order; joined they are the text (of jieba, white space is a word too).
  [[nodiscard]] std::vector<std::u32string> cut(std::u32string_view text) const;
  // "jieba (DIRECTORY)" or "single characters".
  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  [[nodiscard]] bool is_jieba() const noexcept { return tables_ != nullptr; }

 private:
  struct Tables;
  std::unique_ptr<const Tables> tables_;
  std::string name_;
};

}  // namespace thinkey::eval
