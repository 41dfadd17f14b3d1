#include "formats/pipeline_json.h"

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "formats/json_components.h"
#include "formats/pre_tokenizer_table.h"

namespace thinkey {
namespace {

// \w+|[^\w\s]+ as Rust understands it, which counts joiners to \w.
constexpr std::string_view kWords = R"([\w\x{200c}\x{200d}]+|[^\w\x{200c}\x{200d}\s]+)";
constexpr std::string_view kPunctuation = R"([\p{P}!-/:-@\[-`{-~])";
constexpr std::size_t kMostStripped = 1024;

template <typename Kind>
std::optional<Kind> find_kind(std::string_view type,
                              std::initializer_list<std::pair<std::string_view, Kind>> kinds) {
  for (const auto& [name, kind] : kinds) {
    if (name == type) return kind;
  }
  return std::nullopt;
}

// "pattern": {"String": ...} or {"Regex": ...}.
struct Pattern {
  bool is_expression = false;
  std::string text;
};
Pattern read_pattern(const JsonView& component) {
  const auto pattern = component.object("pattern");
  if (!pattern) component.fail("pattern", "is missing");
  if (auto text = pattern->text("String")) return {.text = *std::move(text)};
  return {.is_expression = true, .text = pattern->require_text("Regex")};
}

// `text` as an expression that matches just it.
std::string literal(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (std::string_view(R"(\^$.[]|()*+?{}-/#&~)").find(c) != std::string_view::npos) out += '\\';
    out += c;
  }
  return out;
}

std::string read_mark(const JsonView& component) {
  return component.text("replacement").value_or(std::string(kSpaceMark));
}

SplitStep::Prepend read_prepend(const JsonView& component) {
  using Prepend = SplitStep::Prepend;
  const auto scheme = component.text("prepend_scheme");
  if (!scheme) {
    return component.boolean("add_prefix_space").value_or(true) ? Prepend::Always : Prepend::Never;
  }
  const auto prepend = find_kind<Prepend>(
      *scheme, {{"never", Prepend::Never}, {"first", Prepend::First}, {"always", Prepend::Always}});
  if (!prepend) component.fail("prepend_scheme", fmt::format("\"{}\" is not known", printable(*scheme)));
  return *prepend;
}

void read_normalizer(const JsonView& step, TokenizerData& data) {
  using Kind = NormalizerStep::Kind;
  const std::string type = step.require_text("type");
  NormalizerStep out;
  if (const auto plain = find_kind<Kind>(type, {{"NFC", Kind::Nfc},
                                                {"NFD", Kind::Nfd},
                                                {"NFKC", Kind::Nfkc},
                                                {"NFKD", Kind::Nfkd},
                                                {"Lowercase", Kind::Lowercase},
                                                {"StripAccents", Kind::StripAccents},
                                                {"Nmt", Kind::Nmt},
                                                {"ByteLevel", Kind::ByteAlphabet}})) {
    allow_only(step, {});
    out.kind = *plain;
  } else if (type == "Strip") {
    allow_only(step, {"strip_left", "strip_right"});
    out.kind = Kind::Strip;
    out.left = step.boolean("strip_left").value_or(true);
    out.right = step.boolean("strip_right").value_or(true);
  } else if (type == "Prepend") {
    allow_only(step, {"prepend"});
    out.kind = Kind::Prepend;
    out.content = step.require_text("prepend");
  } else if (type == "Replace") {
    allow_only(step, {"pattern", "content"});
    Pattern pattern = read_pattern(step);
    out.kind = pattern.is_expression ? Kind::ReplacePattern : Kind::ReplaceText;
    out.pattern = std::move(pattern.text);
    out.content = step.require_text("content");
  } else {
    refuse_component(step);
  }
  data.normalizers.push_back(std::move(out));
}

SplitBehavior read_behavior(const JsonView& step, std::string_view otherwise) {
  const std::string name = step.text("behavior").value_or(std::string(otherwise));
  const auto behavior =
      find_kind<SplitBehavior>(name, {{"Removed", SplitBehavior::Removed},
                                      {"Isolated", SplitBehavior::Isolated},
                                      {"MergedWithPrevious", SplitBehavior::MergedWithPrevious},
                                      {"MergedWithNext", SplitBehavior::MergedWithNext},
                                      {"Contiguous", SplitBehavior::Contiguous}});
  if (!behavior) step.fail("behavior", fmt::format("\"{}\" is not known", printable(name)));
  return *behavior;
}

void read_byte_level_split(const JsonView& step, TokenizerData& data) {
  allow_only(step, {"add_prefix_space", "trim_offsets", "use_regex"});
  if (step.boolean("add_prefix_space").value_or(true)) {
    data.splits.push_back({.kind = SplitStep::Kind::PrefixSpace});
  }
  if (step.boolean("use_regex").value_or(true)) data.splits.push_back({.pattern = std::string(kGpt2Words)});
  data.splits.push_back({.kind = SplitStep::Kind::ByteAlphabet});
}

void read_metaspace_split(const JsonView& step, TokenizerData& data) {
  allow_only(step, {"replacement", "prepend_scheme", "add_prefix_space", "split", "str_rep"});
  const std::string mark = read_mark(step);
  data.splits.push_back({.kind = SplitStep::Kind::SpaceMark, .mark = mark, .prepend = read_prepend(step)});
  if (step.boolean("split").value_or(true)) {
    data.splits.push_back({.pattern = literal(mark), .behavior = SplitBehavior::MergedWithNext});
  }
}

void read_split(const JsonView& step, TokenizerData& data) {
  const std::string type = step.require_text("type");
  const auto add = [&data](std::string_view pattern, SplitBehavior behavior, bool invert = false) {
    data.splits.push_back({.pattern = std::string(pattern), .behavior = behavior, .invert = invert});
  };
  if (type == "ByteLevel") return read_byte_level_split(step, data);
  if (type == "Metaspace") return read_metaspace_split(step, data);
  if (type == "Split") {
    allow_only(step, {"pattern", "behavior", "invert"});
    const Pattern pattern = read_pattern(step);
    return add(pattern.is_expression ? pattern.text : literal(pattern.text), read_behavior(step, ""),
               step.boolean("invert").value_or(false));
  }
  if (type == "Digits") {
    allow_only(step, {"individual_digits"});
    const bool each = step.boolean("individual_digits").value_or(false);
    return add(kEveryNumber, each ? SplitBehavior::Isolated : SplitBehavior::Contiguous);
  }
  if (type == "Punctuation") {
    allow_only(step, {"behavior"});
    return add(kPunctuation, read_behavior(step, "Isolated"));
  }
  if (type == "Whitespace") {
    allow_only(step, {});
    return add(kWords, SplitBehavior::Removed, true);
  }
  if (type == "WhitespaceSplit") {
    allow_only(step, {});
    return add(R"(\s)", SplitBehavior::Removed);
  }
  if (type == "CharDelimiterSplit") {
    allow_only(step, {"delimiter"});
    return add(literal(step.require_text("delimiter")), SplitBehavior::Removed);
  }
  if (type == "BertPreTokenizer") {
    allow_only(step, {});
    add(R"(\s)", SplitBehavior::Removed);
    return add(kPunctuation, SplitBehavior::Isolated);
  }
  refuse_component(step);
}

void read_decoder(const JsonView& step, TokenizerData& data) {
  using Kind = DecoderStep::Kind;
  const std::string type = step.require_text("type");
  DecoderStep out;
  if (type == "ByteLevel") {
    allow_only(step, {"add_prefix_space", "trim_offsets", "use_regex"});  // of the pre-tokenizer only
    out.kind = Kind::ByteLevel;
  } else if (type == "ByteFallback") {
    allow_only(step, {});
    out.kind = Kind::ByteFallback;
  } else if (type == "Fuse") {
    allow_only(step, {});
    out.kind = Kind::Fuse;
  } else if (type == "Replace") {
    allow_only(step, {"pattern", "content"});
    Pattern pattern = read_pattern(step);
    out.kind = pattern.is_expression ? Kind::ReplacePattern : Kind::ReplaceText;
    out.pattern = std::move(pattern.text);
    out.content = step.require_text("content");
  } else if (type == "Strip") {
    allow_only(step, {"content", "start", "stop"});
    out.kind = Kind::Strip;
    out.content = step.require_text("content");
    for (auto [key, count] : {std::pair{"start", &out.start}, std::pair{"stop", &out.stop}}) {
      const std::int64_t number = step.integer(key).value_or(0);
      if (number < 0 || number > static_cast<std::int64_t>(kMostStripped)) {
        step.fail(key, fmt::format("is not from 0 to {}", kMostStripped));
      }
      *count = static_cast<std::size_t>(number);
    }
  } else if (type == "Metaspace") {
    allow_only(step, {"replacement", "prepend_scheme", "add_prefix_space", "split", "str_rep"});
    out.kind = Kind::SpaceMark;
    out.pattern = read_mark(step);
    out.drop_first = read_prepend(step) != SplitStep::Prepend::Never;
  } else if (type == "BPEDecoder") {
    allow_only(step, {"suffix"});
    out.kind = Kind::WordSuffix;
    out.pattern = step.text("suffix").value_or("</w>");
  } else {
    refuse_component(step);
  }
  data.decoders.push_back(std::move(out));
}

}  // namespace

void read_text_pipeline(const JsonView& tokenizer, TokenizerData& data) {
  if (const auto normalizer = tokenizer.object("normalizer")) {
    for_each_component(*normalizer, "normalizers",
                       [&data](const JsonView& step) { read_normalizer(step, data); });
  }
  if (const auto pre_tokenizer = tokenizer.object("pre_tokenizer")) {
    for_each_component(*pre_tokenizer, "pretokenizers",
                       [&data](const JsonView& step) { read_split(step, data); });
  }
  if (const auto decoder = tokenizer.object("decoder")) {
    for_each_component(*decoder, "decoders", [&data](const JsonView& step) { read_decoder(step, data); });
  }
  data.joins_with_spaces = data.decoders.empty();
}

}  // namespace thinkey
