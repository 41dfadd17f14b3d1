#include "tokenizer/pre_tokenizer.h"

#include <algorithm>
#include <utility>

#include "tokenizer/byte_alphabet.h"
#include "tokenizer/normalizer.h"

namespace thinkey {
namespace {

using Kind = SplitStep::Kind;

struct Part {
  std::string_view text;
  bool matches = false;
};

// Matches and what lies between them, in order; a match may be empty.
std::vector<Part> parts_of(std::string_view text, const Regex& expression, bool invert) {
  std::vector<Part> parts;
  std::size_t at = 0;
  Regex::Cursor cursor;
  while (const auto match = expression.next(text, cursor)) {
    if (match->start > at) parts.push_back({text.substr(at, match->start - at), invert});
    parts.push_back({text.substr(match->start, match->end - match->start), !invert});
    at = match->end;
  }
  if (at < text.size()) parts.push_back({text.substr(at), invert});
  return parts;
}

std::string_view joined(std::string_view left, std::string_view right) {
  return {left.data(), left.size() + right.size()};
}

// A match joins what stands before it, unless that is a match too.
void merge_with_previous(const std::vector<Part>& parts, std::vector<std::string_view>& words) {
  bool after_match = false;
  bool first = true;
  for (const Part& part : parts) {
    if (part.matches && !after_match && !first) {
      words.back() = joined(words.back(), part.text);
    } else {
      words.push_back(part.text);
    }
    after_match = part.matches;
    first = false;
  }
}

void merge_with_next(const std::vector<Part>& parts, std::vector<std::string_view>& words) {
  const auto begin = static_cast<std::ptrdiff_t>(words.size());
  bool before_match = false;
  for (auto part = parts.rbegin(); part != parts.rend(); ++part) {
    if (part->matches && !before_match && part != parts.rbegin()) {
      words.back() = joined(part->text, words.back());
    } else {
      words.push_back(part->text);
    }
    before_match = part->matches;
  }
  std::reverse(words.begin() + begin, words.end());
}

void merge_equals(const std::vector<Part>& parts, std::vector<std::string_view>& words) {
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (i > 0 && parts[i].matches == parts[i - 1].matches) {
      words.back() = joined(words.back(), parts[i].text);
    } else {
      words.push_back(parts[i].text);
    }
  }
}

void split_at(std::string_view text, const Regex& expression, const SplitStep& step,
              std::vector<std::string_view>& words) {
  if (step.behavior == SplitBehavior::Isolated) {
    std::size_t at = 0;
    Regex::Cursor cursor;
    while (const auto match = expression.next(text, cursor)) {
      if (match->start > at) words.push_back(text.substr(at, match->start - at));
      if (match->end > match->start) words.push_back(text.substr(match->start, match->end - match->start));
      at = match->end;
    }
    if (at < text.size()) words.push_back(text.substr(at));
    return;
  }
  const std::vector<Part> parts = parts_of(text, expression, step.invert);
  switch (step.behavior) {
    case SplitBehavior::Removed:
      for (const Part& part : parts) {
        if (!part.matches) words.push_back(part.text);
      }
      break;
    case SplitBehavior::MergedWithPrevious:
      merge_with_previous(parts, words);
      break;
    case SplitBehavior::MergedWithNext:
      merge_with_next(parts, words);
      break;
    case SplitBehavior::Contiguous:
      merge_equals(parts, words);
      break;
    case SplitBehavior::Isolated:
      break;
  }
}

std::string with_marks(std::string_view word, const SplitStep& step, bool at_start) {
  std::string out = replace_text(word, " ", step.mark);
  const bool prefixed =
      step.prepend == SplitStep::Prepend::Always || (step.prepend == SplitStep::Prepend::First && at_start);
  if (prefixed && !out.starts_with(step.mark)) out.insert(0, step.mark);
  return out;
}

}  // namespace

PreTokenizer::PreTokenizer(std::vector<SplitStep> steps) : PreTokenizer(std::move(steps), Options{}) {}

PreTokenizer::PreTokenizer(std::vector<SplitStep> steps, const Options& options) {
  if (!options.keep_alphabet && !steps.empty() && steps.back().kind == Kind::ByteAlphabet) {
    ends_in_bytes_ = true;
    steps.pop_back();
  }
  for (SplitStep& description : steps) {
    Step& step = steps_.emplace_back();
    if (description.kind == Kind::Pattern) {
      const bool isolates = description.behavior == SplitBehavior::Isolated;  // inverted or not
      if (isolates && options.scanners) {
        step.scanner = WordScanner::for_expression(description.pattern);
        step.set_scanner = SetScanner::for_expression(description.pattern);
      }
      if (!step.scanner && !step.set_scanner) step.expression.emplace(description.pattern);
    }
    step.description = std::move(description);
  }
}

void PreTokenizer::apply(const Step& step, bool at_start, Words& out, std::vector<std::string_view>& finer) {
  const auto keep = [&out, &finer](std::string text) {
    finer.push_back(out.storage.emplace_back(std::move(text)));
  };
  for (const std::string_view word : out.words) {
    const bool begins = at_start && word.data() == out.words.front().data();
    switch (step.description.kind) {
      case Kind::Pattern:
        if (step.scanner) {
          step.scanner->split(word, finer);
        } else if (step.set_scanner) {
          step.set_scanner->split(word, finer);
        } else {
          split_at(word, *step.expression, step.description, finer);
        }
        break;
      case Kind::PrefixSpace:
        if (word.starts_with(' ')) {
          finer.push_back(word);
        } else {
          keep(" " + std::string(word));
        }
        break;
      case Kind::SpaceMark:
        keep(with_marks(word, step.description, begins));
        break;
      case Kind::ByteAlphabet:
        keep(bytes_to_alphabet(word));
        break;
    }
  }
}

void PreTokenizer::split(std::string_view text, bool at_start, Words& out) const {
  out.words.clear();
  out.storage.clear();
  if (!text.empty()) out.words.push_back(text);
  std::vector<std::string_view> finer;
  for (const Step& step : steps_) {
    finer.clear();
    apply(step, at_start, out, finer);
    std::erase_if(finer, [](std::string_view word) { return word.empty(); });
    out.words.swap(finer);
  }
}

}  // namespace thinkey
