// thinkey compress: the method on one layer's tensors, dumped from any framework.
#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/fail.h"
#include "cache/layer_cache.h"
#include "cli/commands.h"
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
  bool quiet = false;
};

// One layer's tensors after RoPE, as float.
struct Layer {
  std::int64_t query_heads = 0;  // H
  std::int64_t kv_heads = 0;     // Hkv
  std::int64_t tokens = 0;       // T
  std::int64_t head_dim = 0;     // D
  std::vector<float> q;          // [H, T, D]
  std::vector<float> k;          // [Hkv, T, D]
  std::vector<float> v;          // [Hkv, T, D]
  std::vector<float> decode_q;   // [H, D], or empty
};

std::string format_shape(const std::vector<std::int64_t>& shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

const SafetensorsTensor& checked(const SafetensorsFile& file, std::string_view name, std::size_t rank) {
  const SafetensorsTensor& tensor = file.at(name);
  if (tensor.shape.size() != rank ||
      std::ranges::any_of(tensor.shape, [](std::int64_t n) { return n < 1; })) {
    fail_data("{}: tensor {} has shape {}; it must have {} dimensions, none of them empty",
              file.path().string(), name, format_shape(tensor.shape), rank);
  }
  return tensor;
}

void require_shape(const SafetensorsFile& file, const SafetensorsTensor& tensor,
                   const std::vector<std::int64_t>& shape, std::string_view why) {
  if (tensor.shape == shape) return;
  fail_data("{}: tensor {} has shape {}, but {} asks for {}", file.path().string(), tensor.name,
            format_shape(tensor.shape), why, format_shape(shape));
}

std::vector<float> finite_floats(const SafetensorsFile& file, const SafetensorsTensor& tensor) {
  std::vector<float> values = to_floats(tensor);
  const auto bad = std::ranges::find_if(values, [](float x) { return !std::isfinite(x); });
  if (bad != values.end()) {
    fail_data("{}: tensor {} is not finite at element {}", file.path().string(), tensor.name,
              bad - values.begin());
  }
  return values;
}

Layer read_layer(const std::string& path) {
  const SafetensorsFile file(path);
  const SafetensorsTensor& q = checked(file, "q", 3);
  const SafetensorsTensor& k = checked(file, "k", 3);
  const SafetensorsTensor& v = checked(file, "v", 3);
  Layer layer;
  layer.query_heads = q.shape[0];
  layer.kv_heads = k.shape[0];
  layer.tokens = q.shape[1];
  layer.head_dim = q.shape[2];
  require_shape(file, k, {layer.kv_heads, layer.tokens, layer.head_dim}, "q");
  require_shape(file, v, k.shape, "k");
  if (layer.query_heads % layer.kv_heads != 0) {
    fail_data("{}: {} query heads (q) are not a multiple of {} KV heads (k)", path, layer.query_heads,
              layer.kv_heads);
  }
  if (layer.head_dim % 8 != 0) {
    fail_data("{}: head dimension {} is not a multiple of 8", path, layer.head_dim);
  }
  if (layer.tokens > std::numeric_limits<std::int32_t>::max()) {
    fail_data("{}: {} tokens are too many", path, layer.tokens);
  }
  layer.q = finite_floats(file, q);
  layer.k = finite_floats(file, k);
  layer.v = finite_floats(file, v);
  if (file.find("decode_q") != nullptr) {
    const SafetensorsTensor& decode_q = checked(file, "decode_q", 2);
    require_shape(file, decode_q, {layer.query_heads, layer.head_dim}, "q");
    layer.decode_q = finite_floats(file, decode_q);
  }
  return layer;
}

// What `compress` writes.
struct Result {
  std::vector<std::int32_t> kept_tokens;    // [Hkv, B]
  std::vector<std::uint8_t> kept_channels;  // [Hkv, D], 1 = kept
  std::vector<float> channel_scores;        // [Hkv, D]
  std::vector<float> decode_out;            // [H, D], or empty
  std::int64_t budget = 0;                  // B
  CacheReport report;
};

Result compress(const Layer& layer, const CacheSpec& spec) {
  const auto heads = static_cast<std::size_t>(layer.kv_heads);
  const auto tokens = static_cast<std::size_t>(layer.tokens);
  const auto head_dim = static_cast<std::size_t>(layer.head_dim);
  SequenceCache cache(CacheShape::uniform(1, {.query_heads = static_cast<std::size_t>(layer.query_heads),
                                              .kv_heads = heads,
                                              .head_dim = head_dim}),
                      spec);
  CompressionTrace trace;
  cache.compress_prompt(0,
                        {.tokens = tokens,
                         .q = layer.q.data(),
                         .queries = tokens,
                         .q_token_stride = head_dim,
                         .q_head_stride = tokens * head_dim,
                         .k = layer.k.data(),
                         .v = layer.v.data(),
                         .capacity = tokens},
                        &trace);

  Result result;
  result.kept_channels.assign(heads * head_dim, 0);
  result.channel_scores.assign(heads * head_dim, 0.0F);
  for (std::size_t head = 0; head < heads; ++head) {
    const std::vector<std::int32_t>& kept = trace.kept_tokens.at(head);
    result.kept_tokens.insert(result.kept_tokens.end(), kept.begin(), kept.end());
    for (const std::int32_t channel : cache.layer(0).store().plan(head).keys.channels) {
      result.kept_channels.at(head * head_dim + static_cast<std::size_t>(channel)) = 1;
    }
    if (!trace.channel_scores.empty()) {
      std::ranges::copy(trace.channel_scores.at(head),
                        result.channel_scores.begin() + static_cast<std::ptrdiff_t>(head * head_dim));
    }
  }
  result.budget = static_cast<std::int64_t>(trace.kept_tokens.front().size());
  if (!layer.decode_q.empty()) {
    result.decode_out.resize(layer.decode_q.size());
    cache.attend(0, 1, layer.tokens, layer.decode_q.data(), result.decode_out.data());
  }
  result.report = cache.report();
  return result;
}

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
  const Layer layer = read_layer(arguments.input);
  const Result result = compress(layer, spec);
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
  app->add_option("INPUT", arguments->input,
                  "Safetensors file: q [H, T, D], k and v [Hkv, T, D] after RoPE, optionally decode_q [H, D]")
      ->required()
      ->type_name("FILE");
  app->add_option("-o,--output", arguments->output,
                  "Safetensors file to write: kept_tokens [Hkv, B] i32, kept_channels [Hkv, D] u8, "
                  "channel_scores [Hkv, D] "
                  "f32, decode_out [H, D] f32 (attention of decode_q at position T over what is kept); "
                  "metadata cache_bytes")
      ->required()
      ->type_name("FILE");
  arguments->cache.add(*app);
  app->add_flag("-q,--quiet", arguments->quiet, "No cache report on standard error");
  add_examples(*app,
               {"thinkey compress layer7.safetensors -o kept.safetensors --cache snapkv:1024+think:0.4"});
  return {app, [arguments] { return execute(*arguments); }};
}

}  // namespace thinkey::cli
