// The unigram language model (Kudo, arXiv 1804.10959): of all ways to cut a word into pieces the one whose
// scores sum up highest, found by Viterbi's algorithm.
#include <algorithm>
#include <limits>
#include <string>
#include <utility>

#include "tokenizer/piece_tree.h"
#include "tokenizer/utf8.h"
#include "tokenizer/word_model.h"

namespace thinkey {
namespace {

constexpr double kUnknownPenalty = 10;  // below the worst score, as in SentencePiece

class UnigramModel final : public WordModel {
 public:
  explicit UnigramModel(const Vocabulary& vocabulary) : vocabulary_(vocabulary) {
    std::vector<std::pair<std::string_view, std::int32_t>> pieces;
    double worst = 0;
    for (std::int32_t id = 0; id < vocabulary.size(); ++id) {
      worst = std::min(worst, score(id));
      const bool whole =
          vocabulary.type(id) == TokenType::Normal || vocabulary.type(id) == TokenType::UserDefined;
      if (whole && !vocabulary.text(id).empty()) pieces.emplace_back(vocabulary.text(id), id);
    }
    tree_ = PieceTree(std::move(pieces));
    unknown_score_ = worst - kUnknownPenalty;
  }

  void encode(std::string_view word, MergeScratch& /*scratch*/,
              std::vector<std::int32_t>& ids) const override {
    const std::vector<Step> best = best_steps(word);
    std::vector<std::size_t> ends;  // last first
    for (std::size_t at = word.size(); at > 0; at = best[at].from) ends.push_back(at);
    std::size_t unknown_from = word.size();  // where a run without pieces began
    const auto flush = [&](std::size_t end) {
      if (unknown_from < end) append_unknown(word.substr(unknown_from, end - unknown_from), ids);
      unknown_from = word.size();
    };
    for (auto end = ends.rbegin(); end != ends.rend(); ++end) {
      const Step& step = best[*end];
      if (step.id < 0) {
        unknown_from = std::min(unknown_from, step.from);
      } else {
        flush(step.from);
        ids.push_back(step.id);
      }
    }
    flush(word.size());
  }

 private:
  struct Step {
    double score = -std::numeric_limits<double>::infinity();
    std::size_t from = 0;
    std::int32_t id = -1;  // -1: a character without a piece
  };

  [[nodiscard]] double score(std::int32_t id) const { return vocabulary_.data().scores[std::size_t(id)]; }

  // The best last step of every prefix of `word`.
  [[nodiscard]] std::vector<Step> best_steps(std::string_view word) const {
    std::vector<Step> best(word.size() + 1);
    best[0].score = 0;
    for (std::size_t at = 0; at < word.size();) {
      const std::size_t character = next_utf8(word.substr(at)).bytes;
      bool whole_character = false;
      const auto offer = [&](std::size_t bytes, std::int32_t id, double more) {
        Step& step = best[at + bytes];
        if (best[at].score + more > step.score) step = {best[at].score + more, at, id};
      };
      tree_.for_each_prefix(word.substr(at), [&](std::size_t bytes, std::int32_t id) {
        whole_character = whole_character || bytes == character;
        offer(bytes, id, score(id));
      });
      if (!whole_character) offer(character, -1, unknown_score_);
      at += character;
    }
    return best;
  }

  void append_unknown(std::string_view text, std::vector<std::int32_t>& ids) const {
    if (vocabulary_.has_bytes(text)) {
      for (const char byte : text) ids.push_back(vocabulary_.byte_id(byte));
    } else if (vocabulary_.data().unknown >= 0) {
      ids.push_back(vocabulary_.data().unknown);
    }
  }

  const Vocabulary& vocabulary_;
  PieceTree tree_;
  double unknown_score_ = 0;
};

}  // namespace

std::unique_ptr<const WordModel> make_unigram_model(const Vocabulary& vocabulary) {
  return std::make_unique<const UnigramModel>(vocabulary);
}

}  // namespace thinkey
