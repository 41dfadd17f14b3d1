#include "formats/pre_tokenizer_json.h"

#include <array>
#include <string_view>
#include <utility>
#include <vector>

#include "base/fail.h"
#include "formats/printable.h"

namespace thinkey {
namespace {

constexpr std::string_view kSpaceMark = "\u2581";

// Patterns of Split pre-tokenizers, as the models' files spell them.
constexpr std::array<std::pair<std::string_view, std::string_view>, 2> kPatterns{{
    {R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
     "llama-bpe"},
    {R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)", "gpt-2"},
}};

// The steps of a pipeline: none for null, the parts of a Sequence, or the thing itself.
std::vector<JsonView> steps(const JsonView& tokenizer, const std::string& key, const std::string& parts) {
  std::vector<JsonView> out;
  const auto whole = tokenizer.object(key);
  if (!whole) return out;
  if (whole->require_text("type") != "Sequence") {
    out.push_back(*whole);
    return out;
  }
  const Json* list = whole->array(parts);
  if (list == nullptr) whole->fail(parts, "is missing");
  for (const Json& part : *list) {
    if (!part.is_object()) whole->fail(parts, "holds something that is not an object");
    out.emplace_back(part, tokenizer.path(), key + ".");
  }
  return out;
}

std::string types_of(const std::vector<JsonView>& pipeline) {
  std::string out;
  for (const JsonView& step : pipeline) out += (out.empty() ? "" : ", ") + step.require_text("type");
  return printable(out, 200);
}

// What a Split step searches for, when it makes matches into words of their own; else nullopt.
std::optional<std::string> split_pattern(const JsonView& step) {
  const auto pattern = step.object("pattern");
  if (step.require_text("type") != "Split" || !pattern) return std::nullopt;
  const std::string behavior = step.text("behavior").value_or("");
  const bool invert = step.boolean("invert").value_or(false);
  const bool isolates = (behavior == "Isolated" && !invert) || (behavior == "Removed" && invert);
  return isolates ? pattern->text("Regex") : std::nullopt;
}

bool is_digits(const JsonView& step, bool individual) {
  return step.require_text("type") == "Digits" &&
         step.boolean("individual_digits").value_or(false) == individual;
}

bool is_byte_level(const JsonView& step, bool splits) {
  if (step.require_text("type") != "ByteLevel") return false;
  if (step.boolean("add_prefix_space").value_or(true)) {
    step.fail("add_prefix_space", "is true, which is not supported");
  }
  return step.boolean("use_regex").value_or(true) == splits;
}

// Falcon's pipeline, which llama.cpp calls "default".
bool is_default(const std::vector<JsonView>& p) {
  return p.size() == 4 && p[0].require_text("type") == "Punctuation" &&
         p[0].text("behavior").value_or("") == "Contiguous" && is_byte_level(p[1], true) &&
         is_digits(p[2], false) && split_pattern(p[3]) == "[0-9][0-9][0-9]";
}

std::string byte_level_kind(const JsonView& tokenizer, const std::vector<JsonView>& p) {
  if (p.size() == 1 && is_byte_level(p[0], true)) return "gpt-2";
  if (p.size() == 2 && is_digits(p[0], true) && is_byte_level(p[1], true)) return "smollm";
  if (is_default(p)) return "default";
  if (p.size() == 2 && is_byte_level(p[1], false)) {
    if (const auto pattern = split_pattern(p[0])) {
      for (const auto& [known, name] : kPatterns) {
        if (*pattern == known) return std::string(name);
      }
      tokenizer.fail("pre_tokenizer",
                     fmt::format("splits by a pattern that is not supported: {}", printable(*pattern, 200)));
    }
  }
  tokenizer.fail("pre_tokenizer", fmt::format("({}) is not supported", types_of(p)));
}

// SentencePiece's spaces, made by normalizers (Prepend, Replace) or by the Metaspace pre-tokenizer.
TextPipeline space_mark_pipeline(const JsonView& tokenizer, const std::vector<JsonView>& normalizers,
                                 const std::vector<JsonView>& p) {
  TextPipeline out;
  bool replaces = false;
  for (const JsonView& step : normalizers) {
    const std::string type = step.require_text("type");
    const auto pattern = step.object("pattern");
    if (type == "Prepend" && step.text("prepend") == kSpaceMark) {
      out.add_space_prefix = true;
    } else if (type == "Replace" && pattern && pattern->text("String") == " " &&
               step.text("content") == kSpaceMark) {
      replaces = true;
    } else {
      tokenizer.fail("normalizer", fmt::format("({}) is not supported", types_of(normalizers)));
    }
  }
  if (!p.empty()) {
    // A Metaspace that splits would forbid merges across spaces, which SentencePiece has.
    const bool metaspace = p.size() == 1 && p[0].require_text("type") == "Metaspace" &&
                           p[0].text("replacement") == kSpaceMark && !p[0].boolean("split").value_or(true);
    if (!metaspace || replaces) {
      tokenizer.fail("pre_tokenizer", fmt::format("({}) is not supported", types_of(p)));
    }
    replaces = true;
    const std::string scheme = p[0].text("prepend_scheme").value_or("");
    out.add_space_prefix =
        scheme.empty() ? p[0].boolean("add_prefix_space").value_or(true) : scheme != "never";
  }
  if (!replaces) {
    tokenizer.fail("pre_tokenizer", "is neither byte-level nor SentencePiece's; others are not supported");
  }
  return out;
}

}  // namespace

TextPipeline read_text_pipeline(const JsonView& tokenizer) {
  const std::vector<JsonView> normalizers = steps(tokenizer, "normalizer", "normalizers");
  const std::vector<JsonView> pre_tokenizers = steps(tokenizer, "pre_tokenizer", "pretokenizers");
  bool byte_level = false;
  for (const JsonView& step : pre_tokenizers) {
    byte_level = byte_level || step.require_text("type") == "ByteLevel";
  }
  if (!byte_level) return space_mark_pipeline(tokenizer, normalizers, pre_tokenizers);
  if (!normalizers.empty()) {
    tokenizer.fail("normalizer", fmt::format("({}) is not supported", types_of(normalizers)));
  }
  return {.byte_level = true, .pre = byte_level_kind(tokenizer, pre_tokenizers), .add_space_prefix = false};
}

}  // namespace thinkey
