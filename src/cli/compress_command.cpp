// thinkey compress: the method on one layer's tensors, dumped from any framework.
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/fail.h"
#include "cli/commands.h"
#include "cli/compress_layer.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/report.h"
#include "formats/safetensors.h"

namespace thinkey::cli {

namespace {

struct Arguments {
  std::string input;
  std::string output;
  CacheArgument cache;
  std::string rope;  // "" as the file says
  bool quiet = false;
};

template <typename T>
// NOLINTNEXTLINE(performance-unnecessary-value-param): both are moved from
SafetensorsTensor tensor_of(std::string name, SafetensorsType type, std::vector<std::int64_t> shape,
                            const std::vector<T>& values) {
  return {.name = std::move(name),
          .type = type,
          .shape = std::move(shape),
          .bytes = std::as_bytes(std::span(values))};
}

int execute(const Arguments& arguments) {
  const CacheSpec spec = arguments.cache.parse();
  require_writable(arguments.output);
  DumpedLayer layer = read_layer(arguments.input);
  if (arguments.rope == "none") {
    layer.rope = RopeSpec{};
  } else if (!arguments.rope.empty()) {
    if (!layer.rope) fail_usage("--rope {}: the file has no inverse_frequencies", arguments.rope);
    layer.rope->pairs = arguments.rope == "interleaved" ? RopePairs::Interleaved : RopePairs::HalfSplit;
  }
  const CompressedLayer result = compress(layer, spec);
  std::vector<SafetensorsTensor> tensors;
  tensors.push_back(
      tensor_of("kept_tokens", SafetensorsType::I32, {layer.kv_heads, result.budget}, result.kept_tokens));
  tensors.push_back(tensor_of("kept_channels", SafetensorsType::U8, {layer.kv_heads, layer.head_dim},
                              result.kept_channels));
  tensors.push_back(tensor_of("channel_scores", SafetensorsType::F32, {layer.kv_heads, layer.head_dim},
                              result.channel_scores));
  if (!result.decode_out.empty()) {
    tensors.push_back(tensor_of("decode_out", SafetensorsType::F32, {layer.query_heads, layer.head_dim},
                                result.decode_out));
  }
  write_safetensors(arguments.output, tensors,
                    {{"cache", spec.to_string()}, {"cache_bytes", std::to_string(result.report.bytes)}});
  if (!arguments.quiet) write_message(format_cache_report(result.report));
  return 0;
}

}  // namespace

Command add_compress_command(CLI::App& program) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* app =
      program.add_subcommand("compress", "Apply a cache spec to one layer's dumped queries, keys and values");
  app->add_option(
         "INPUT", arguments->input,
         "Safetensors file: q [H, T, D], k and v [Hkv, T, D] after RoPE, optionally decode_q [H, D], and for "
         "expected and compactor inverse_frequencies [R/2] of RoPE")
      ->required()
      ->type_name("FILE");
  app->add_option("-o,--output", arguments->output,
                  "Safetensors file to write: kept_tokens [Hkv, B] i32 (-1 where a head keeps fewer), "
                  "kept_channels [Hkv, D] u8, "
                  "channel_scores [Hkv, D] "
                  "f32, decode_out [H, D] f32 (attention of decode_q at position T over what is kept); "
                  "metadata cache_bytes")
      ->required()
      ->type_name("FILE");
  arguments->cache.add(*app);
  app->add_option("--rope", arguments->rope,
                  "Which channels RoPE turned together: half (i with i + R/2; the default where the file has "
                  "inverse_frequencies), interleaved (2i with 2i + 1), or none")
      ->check(CLI::IsMember({"half", "interleaved", "none"}))
      ->type_name("NAME");
  app->add_flag("-q,--quiet", arguments->quiet, "No cache report on standard error");
  add_examples(*app,
               {"thinkey compress layer7.safetensors -o kept.safetensors --cache snapkv:1024+think:0.4"});
  return {app, [arguments] { return execute(*arguments); }};
}

}  // namespace thinkey::cli
