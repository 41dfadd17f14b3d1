// Tokenizer speed on one core: THINKEY_TOKENIZERS, a list of .gguf or tokenizer.json files with colons
// between them, over the text THINKEY_TEXT (repeated to 16 MiB).
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "formats/text_file.h"
#include "tokenizer/tokenizer.h"

namespace {

constexpr std::size_t kBytes = std::size_t{16} << 20U;

std::string long_text(const char* path) {
  const std::string once = thinkey::read_file(path);
  std::string text;
  while (!once.empty() && text.size() < kBytes) text += once;
  return text;
}

void encode(benchmark::State& state, const thinkey::Tokenizer& tokenizer, const std::string& text) {
  for (auto _ : state) benchmark::DoNotOptimize(tokenizer.encode(text, {.add_special = false}));
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(text.size()));
}

void decode(benchmark::State& state, const thinkey::Tokenizer& tokenizer, const std::string& text) {
  const auto ids = tokenizer.encode(text, {.add_special = false});
  for (auto _ : state) benchmark::DoNotOptimize(tokenizer.decode(ids));
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(text.size()));
}

}  // namespace

int main(int argc, char** argv) {
  const char* list = std::getenv("THINKEY_TOKENIZERS");
  const char* path = std::getenv("THINKEY_TEXT");
  if (list == nullptr || path == nullptr) return 0;  // nothing to measure
  static const std::string text = long_text(path);
  for (std::string_view rest = list; !rest.empty();) {
    const std::size_t colon = rest.find(':');
    const std::filesystem::path file = rest.substr(0, colon);
    rest = colon == std::string_view::npos ? std::string_view() : rest.substr(colon + 1);
    const std::shared_ptr<const thinkey::Tokenizer> tokenizer =
        thinkey::Tokenizer::create(file.extension() == ".json" ? thinkey::read_tokenizer_json(file)
                                                               : thinkey::read_gguf_vocabulary(file));
    const std::string name = file.filename().string();
    benchmark::RegisterBenchmark(("encode/" + name).c_str(),
                                 [tokenizer](benchmark::State& state) { encode(state, *tokenizer, text); });
    benchmark::RegisterBenchmark(("decode/" + name).c_str(),
                                 [tokenizer](benchmark::State& state) { decode(state, *tokenizer, text); });
  }
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
