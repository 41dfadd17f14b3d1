#include "eval/needle/haystack.h"

#include <algorithm>
#include <memory>
#include <system_error>
#include <utility>

#include "base/fail.h"
#include "eval/needle/prose.h"
#include "formats/text_file.h"

namespace thinkey::eval {

std::vector<std::string> sentences_of(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n\f\v";
  constexpr std::size_t kLongest = 300;  // bytes; tables and lists have no sentences
  std::vector<std::string> sentences;
  std::string sentence;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t begin = std::min(text.find_first_not_of(kSpace, at), text.size());
    const std::size_t end = std::min(text.find_first_of(kSpace, begin), text.size());
    at = end;
    if (begin == end) break;
    sentence += (sentence.empty() ? "" : " ") + std::string(text.substr(begin, end - begin));
    if (std::string_view(".!?:").find(sentence.back()) != std::string_view::npos ||
        sentence.size() > kLongest) {
      sentences.push_back(std::exchange(sentence, {}));
    }
  }
  if (!sentence.empty()) sentences.push_back(std::move(sentence));
  return sentences;
}

std::string read_directory(const std::filesystem::path& directory) {
  std::error_code error;
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(directory, error)) {
    if (entry.is_regular_file()) files.push_back(entry.path());
  }
  if (error) fail_data("{}: cannot list the directory: {}", directory.string(), error.message());
  if (files.empty()) fail_data("{}: no files in the directory", directory.string());
  std::sort(files.begin(), files.end());
  std::string text;
  for (const auto& file : files) {
    const std::string part = read_file(file);
    require_utf8(part, file.string());
    text += part + "\n\n";
  }
  return text;
}

std::string text_fingerprint(std::string_view text) {
  std::uint64_t hash = 0xcbf29ce484222325U;  // FNV-1a
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
  return fmt::format("{:016x}", hash);
}

std::string text_record(std::string_view path, std::string_view text) {
  return fmt::format("{} {}", path, text_fingerprint(text));
}

std::function<std::string()> Haystack::open(Random& random) const {
  if (sentences_.empty()) return [prose = std::make_shared<Prose>(random())] { return prose->piece(); };
  return [this, at = below(random, sentences_.size())]() mutable {
    const std::string& sentence = sentences_[at];
    at = (at + 1) % sentences_.size();
    return " " + sentence;
  };
}

std::vector<std::string> gather(const std::function<std::string()>& source, const PromptEncoder& encoder,
                                std::size_t tokens) {
  std::vector<std::string> pieces;
  for (std::size_t length = 0;;) {
    std::string piece = source();
    length += encoder.length(piece);
    if (length > tokens) return pieces;
    pieces.push_back(std::move(piece));
  }
}

std::size_t place_at(const std::vector<std::string>& pieces, double depth) {
  std::size_t all = 0;
  for (const std::string& piece : pieces) all += piece.size();
  const auto wanted = depth * static_cast<double>(all);
  std::size_t before = 0;
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    // The boundary that is nearer.
    if (static_cast<double>(before) + static_cast<double>(pieces[i].size()) / 2.0 >= wanted) return i;
    before += pieces[i].size();
  }
  return pieces.size();
}

std::string join(const std::vector<std::string>& pieces) {
  std::string text;
  for (const std::string& piece : pieces) text += piece;
  const std::size_t first = text.find_first_not_of(" \n");
  return first == std::string::npos ? std::string() : text.substr(first);
}

}  // namespace thinkey::eval
