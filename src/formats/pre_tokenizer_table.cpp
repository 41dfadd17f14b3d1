#include "formats/pre_tokenizer_table.h"

#include <array>
#include <string>

#include "base/fail.h"
#include "formats/printable.h"

namespace thinkey {
namespace {

#define CONTRACTIONS R"((?i:'s|'t|'re|'ve|'m|'ll|'d))"
#define SPACES R"(|\s+(?!\S)|\s+)"
#define SYMBOLS_THEN_LINES R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+)" SPACES
#define SYMBOLS_THEN_SLASHES R"(| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+)" SPACES
// Words that may begin with capitals, or end in small letters, or both.
#define UPPER R"([\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}])"
#define LOWER R"([\p{Ll}\p{Lm}\p{Lo}\p{M}])"
#define BEFORE R"([^\r\n\p{L}\p{N}]?)"
#define CASED_WORDS(end) BEFORE UPPER "*" LOWER "+" end "|" BEFORE UPPER "+" LOWER "*" end "|"

constexpr std::string_view kGpt4oWords = CASED_WORDS(CONTRACTIONS "?") R"(\p{N}{1,3})" SYMBOLS_THEN_SLASHES;
constexpr std::string_view kTekkenWords = CASED_WORDS("") R"(\p{N})" SYMBOLS_THEN_SLASHES;
constexpr std::string_view kYoutuWords = CASED_WORDS(CONTRACTIONS "?") R"(\p{N})" SYMBOLS_THEN_SLASHES;
constexpr std::string_view kNoContractions = R"([^\r\n\p{L}\p{N}]?\p{L}+|\p{N})" SYMBOLS_THEN_LINES;
constexpr std::string_view kBailingWords =
    R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n])" SPACES;
constexpr std::string_view kSeedWords =
    CONTRACTIONS R"(|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+)" SPACES;
constexpr std::string_view kExaoneMoeWords =
    CONTRACTIONS R"(|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N})"
                 R"(| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n])" SPACES;
constexpr std::string_view kMiniCpmWords =
    CONTRACTIONS R"(|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+)" SYMBOLS_THEN_LINES;
constexpr std::string_view kJais2Words =
    CONTRACTIONS R"(|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+)"
                 R"(|\s{512}(?!\S)|\s{256}(?!\S)|\s{128}(?!\S)|\s{64}(?!\S)|\s{32}(?!\S)|\s{16}(?!\S))"
                 R"(|\s{8}(?!\S)|\s{4}(?!\S)|\s{1,2}(?!\S)|\s{1})";

// DeepSeek's. The CJK ranges run from the first to the last character the authors named.
constexpr std::string_view kThreeNumbers = R"(\p{N}{1,3})";
constexpr std::string_view kHanAndKana = R"([\x{4e00}-\x{9fa5}\x{3040}-\x{309f}\x{30a0}-\x{30ff}]+)";
constexpr std::string_view kHanAndHangul = R"([\x{4e00}-\x{9fa5}\x{800}-\x{4e00}\x{ac00}-\x{d7ff}]+)";
constexpr std::string_view kDeepseek3Words =
    R"re([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+)re"
    R"(| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+)" SPACES;
constexpr std::string_view kSparkWords =
    R"re([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+)re"
    R"(| ?[\p{P}\p{S}]+|[\r\n])" SPACES;
constexpr std::string_view kDeepseekLetters =
    R"(\s?[)"
    R"(A-Za-z\x{b5}\x{c0}-\x{d6}\x{d8}-\x{f6}\x{f8}-\x{1ba}\x{1bc}-\x{1bf}\x{1c4}-\x{293})"
    R"(\x{295}-\x{2af}\x{370}-\x{373}\x{376}\x{377}\x{37b}-\x{37d}\x{37f}\x{386}\x{388}-\x{38a}\x{38c})"
    R"(\x{38e}-\x{3a1}\x{3a3}-\x{3f5}\x{3f7}-\x{481}\x{48a}-\x{52f}\x{531}-\x{556}\x{10a0}-\x{10c5})"
    R"(\x{13a0}-\x{13f5}\x{13f8}-\x{13fd}\x{1c90}-\x{1cba}\x{1cbd}-\x{1cbf}\x{1d00}-\x{1d2b})"
    R"(\x{1d6b}-\x{1d77}\x{1d79}-\x{1d9a}\x{1e00}-\x{1f15}\x{1f18}-\x{1f1d}\x{1f20}-\x{1f45})"
    R"(\x{1f48}-\x{1f4d}\x{1f50}-\x{1f57}\x{1f59}\x{1f5b}\x{1f5d}\x{1f5f}-\x{1f7d}\x{1f80}-\x{1fb4})"
    R"(\x{1fb6}-\x{1fbc}\x{1fbe}\x{1fc2}-\x{1fc4}\x{1fc6}-\x{1fcc}\x{1fd0}-\x{1fd3}\x{1fd6}-\x{1fdb})"
    R"(\x{1fe0}-\x{1fec}\x{1ff2}-\x{1ff4}\x{1ff6}-\x{1ffc}\x{2102}\x{2107}\x{210a}-\x{2113}\x{2115})"
    R"(\x{2119}-\x{211d}\x{2124}\x{2126}\x{2128}\x{212a}-\x{212d}\x{212f}-\x{2134}\x{2139})"
    R"(\x{213c}-\x{213f}\x{2145}-\x{2149}\x{214e}\x{2183}\x{2184}\x{2c00}-\x{2c7b}\x{2c7e}-\x{2ce4})"
    R"(\x{2ceb}-\x{2cee}\x{2cf2}\x{2cf3}\x{a640}-\x{a66d}\x{a680}-\x{a69b}\x{a722}-\x{a76f})"
    R"(\x{a771}-\x{a787}\x{a78b}-\x{a78e}\x{ab70}-\x{abbf}\x{fb00}-\x{fb06}\x{fb13}-\x{fb17})"
    R"(\x{ff21}-\x{ff3a}\x{ff41}-\x{ff5a}\x{10400}-\x{1044f}\x{104b0}-\x{104d3}\x{104d8}-\x{104fb})"
    R"(\x{10c80}-\x{10cb2}\x{10cc0}-\x{10cf2}\x{118a0}-\x{118df}\x{1e900}-\x{1e943})"
    R"(]+)";
constexpr std::string_view kDeepseekSymbols =
    R"(\s?[!-/:-~\x{ff01}-\x{ff0f}\x{ff1a}-\x{ff5e}\x{2018}-\x{201f}\x{3000}-\x{3002}]+)";
constexpr std::string_view kYoutuScripts =
    R"([\x{ac00}-\x{d7a3}\x{3131}-\x{318e}]+|[\x{ff01}\x{2026}\x{201c}\x{201d}\x{2018}\x{2019}\x{2014}\x{ff1a}\x{ff1b}\x{ff0c})"
    R"(\x{3001}-\x{303f}\x{fe30}-\x{fe4f}]+)"
    R"(|[\x{3105}-\x{312f}]+|[\x{4e00}-\x{9fa5}\x{3040}-\x{309f}\x{30a0}-\x{30ff}]+)";
constexpr std::string_view kBloomWords =
    R"( ?[^(\s|.,!?\x{2026}\x{3002}\x{ff0c}\x{3001}\x{964}\x{6d4}\x{60c}]+)";

#undef CASED_WORDS
#undef BEFORE
#undef LOWER
#undef UPPER
#undef SYMBOLS_THEN_SLASHES
#undef SYMBOLS_THEN_LINES
#undef SPACES
#undef CONTRACTIONS

struct Row {
  std::string_view names;                    // with spaces between them
  std::array<std::string_view, 6> patterns;  // one after the other, matches isolated
  bool ignore_merges = false;
  bool add_bos = false;
};

constexpr Row kRows[] = {
    {"default", {R"([\p{P}$+<=>^~|]+)", kGpt2Words, kNumbers, "[0-9][0-9][0-9]"}},
    {"gpt-2 phi-2 mpt olmo jais jina-es jina-de jina-v2-es jina-v2-de gigachat a.x-4.0 mellum modern-bert "
     "exaone4 "
     "trillion granite-docling",
     {kGpt2Words}},
    {"starcoder refact command-r smollm codeshell exaone minerva-7b mellum2", {kEveryNumber, kGpt2Words}},
    {"llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano",
     {kLlama3Words},
     true,
     true},
    {"dbrx smaug-bpe chatglm-bpe", {kLlama3Words}},
    {"glm4 glm5", {kLlama3Words}, true},
    {"qwen2 deepseek-r1-qwen kormo f2llmv2 megrez stablelm2 hunyuan solar-open grok-2", {kQwen2Words}},
    {"qwen35", {kQwen35Words}},
    {"gpt-4o llama4 kanana2 talkie minimax-m2", {kGpt4oWords}},
    {"tekken", {kTekkenWords}, true, true},
    {"falcon", {R"([\p{P}$+<=>^~|`]+)", kGpt2Words, "[0-9][0-9][0-9]"}},
    {"deepseek-llm",
     {R"([\r\n])", kDeepseekLetters, kDeepseekSymbols, kSpacesAtEnd, kHanAndHangul, kNumbers}},
    {"deepseek-coder", {R"([\r\n])", R"(\s?\p{L}+)", R"(\s?\p{P}+)", kHanAndHangul, kEveryNumber}},
    {"deepseek-v3 hunyuan-dense joyai-llm hy_v4", {kThreeNumbers, kHanAndKana, kDeepseek3Words}},
    {"spark2_5", {kThreeNumbers, kHanAndKana, kSparkWords, kEveryNumber}},
    {"youtu", {kYoutuScripts, kYoutuWords}, true},
    {"poro-chat bloom gpt3-finnish", {kBloomWords}},
    {"viking", {kBloomWords, kEveryNumber}},
    {"superbpe", {kNumbers, R"((?=(\d{3})+(?!\d)))"}},
    {"tiny_aya cohere2moe", {R"(\d{1,3}(?=(?:\d{3})*\b))", kGpt4oWords}},
    {"bailingmoe bailingmoe2 llada-moe", {kBailingWords}},
    {"seed-coder", {kSeedWords}},
    {"ufakzeka", {kNoContractions}},
    {"laguna", {R"([^\n]+|[\n]+)", kQwen2Words}},
    {"exaone-moe", {kExaoneMoeWords}},
    {"minicpm5", {kThreeNumbers, kMiniCpmWords}, true},
    {"jais-2", {kJais2Words}},
};

bool names(const Row& row, std::string_view name) {
  for (std::string_view rest = row.names; !rest.empty();) {
    const std::size_t space = rest.find(' ');
    if (rest.substr(0, space) == name) return true;
    rest = space == std::string_view::npos ? std::string_view() : rest.substr(space + 1);
  }
  return false;
}

DecoderStep replace(std::string_view pattern, std::string_view content) {
  return {.kind = DecoderStep::Kind::ReplaceText,
          .pattern = std::string(pattern),
          .content = std::string(content)};
}

void set_byte_level(const Row& row, TokenizerData& data) {
  for (const std::string_view pattern : row.patterns) {
    if (!pattern.empty()) data.splits.push_back({.pattern = std::string(pattern)});
  }
  data.splits.push_back({.kind = SplitStep::Kind::ByteAlphabet});
  data.decoders = {{.kind = DecoderStep::Kind::ByteLevel}};
  data.ignore_merges = row.ignore_merges;
  data.add_bos = row.add_bos;
}

// SentencePiece's spaces, but merges instead of scores; only newlines stand apart.
void set_gemma4(TokenizerData& data) {
  set_space_mark_pipeline(false, data);
  data.splits.push_back({.pattern = R"([^\n]+|[\n]+)"});
  data.add_bos = true;
}

}  // namespace

void set_pre_tokenizer(std::string_view name, TokenizerData& data) {
  if (name.empty()) name = "default";
  data.pre = name;
  if (name == "gemma4" || name == "sarvam-moe") return set_gemma4(data);
  for (const Row& row : kRows) {
    if (names(row, name)) return set_byte_level(row, data);
  }
  std::string known = "gemma4 sarvam-moe";
  for (const Row& row : kRows) known.append(" ").append(row.names);
  fail_data("tokenizer: unknown pre-tokenizer \"{}\" (known: {})", printable(name), known);
}

void set_space_mark_pipeline(bool prefix, TokenizerData& data) {
  if (prefix) {
    data.normalizers.push_back({.kind = NormalizerStep::Kind::Prepend, .content = std::string(kSpaceMark)});
  }
  data.normalizers.push_back(
      {.kind = NormalizerStep::Kind::ReplaceText, .pattern = " ", .content = std::string(kSpaceMark)});
  data.decoders = {replace(kSpaceMark, " "), {.kind = DecoderStep::Kind::ByteFallback}, {}};
  if (prefix) data.decoders.push_back({.kind = DecoderStep::Kind::Strip, .content = " ", .start = 1});
  data.restarts_after_added = prefix;
  data.byte_fallback = true;
  data.fuse_unknown = true;
}

}  // namespace thinkey
