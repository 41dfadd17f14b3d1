#include "cli/compress_layer.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string_view>

#include "base/fail.h"
#include "cache/layer_cache.h"
#include "cache/policy.h"
#include "cache/sequence_cache.h"
#include "formats/safetensors.h"

namespace thinkey::cli {
namespace {

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

AttentionShape attention_shape(const DumpedLayer& layer) {
  return {.query_heads = static_cast<std::size_t>(layer.query_heads),
          .kv_heads = static_cast<std::size_t>(layer.kv_heads),
          .head_dim = static_cast<std::size_t>(layer.head_dim),
          .rope = layer.rope && layer.rope->rotated > 0 ? &*layer.rope : nullptr};
}

}  // namespace

DumpedLayer read_layer(const std::string& path) {
  const SafetensorsFile file(path);
  const SafetensorsTensor& q = checked(file, "q", 3);
  const SafetensorsTensor& k = checked(file, "k", 3);
  const SafetensorsTensor& v = checked(file, "v", 3);
  DumpedLayer layer;
  layer.query_heads = q.shape[0];
  layer.kv_heads = k.shape[0];
  layer.tokens = q.shape[1];
  layer.head_dim = q.shape[2];
  require_shape(file, k, {layer.kv_heads, layer.tokens, layer.head_dim}, "q");
  require_shape(file, v, k.shape, "k");
  try {
    attention_shape(layer).check();
  } catch (const Error& error) {
    fail_data("{}: {}", path, error.what());
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
  if (file.find("inverse_frequencies") != nullptr) {
    const SafetensorsTensor& frequencies = checked(file, "inverse_frequencies", 1);
    if (2 * frequencies.shape[0] > layer.head_dim) {
      fail_data("{}: {} inverse_frequencies turn more than the {} channels of a head", path,
                frequencies.shape[0], layer.head_dim);
    }
    RopeSpec rope;
    rope.inverse_frequencies = finite_floats(file, frequencies);
    rope.rotated = 2 * rope.inverse_frequencies.size();
    layer.rope = std::move(rope);
  }
  return layer;
}

CompressedLayer compress(const DumpedLayer& layer, const CacheSpec& spec) {
  refuse_without_model(spec);
  const Policy* policy = policy_of(spec.eviction.policy);
  if (policy != nullptr && policy->unrotates && !layer.rope) {
    fail_usage(
        "{} looks at keys before RoPE: give inverse_frequencies [R/2] in the file, or say --rope none if "
        "they "
        "have no positions in them",
        policy->name);
  }
  const auto heads = static_cast<std::size_t>(layer.kv_heads);
  const auto tokens = static_cast<std::size_t>(layer.tokens);
  const auto head_dim = static_cast<std::size_t>(layer.head_dim);
  SequenceCache cache(CacheShape::uniform(1, attention_shape(layer)), spec);
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

  CompressedLayer result;
  std::size_t widest = 0;  // heads that share places keep different numbers (adakv)
  for (const std::vector<std::int32_t>& kept : trace.kept_tokens) widest = std::max(widest, kept.size());
  result.kept_channels.assign(heads * head_dim, 0);
  result.channel_scores.assign(heads * head_dim, 0.0F);
  for (std::size_t head = 0; head < heads; ++head) {
    const std::vector<std::int32_t>& kept = trace.kept_tokens.at(head);
    result.kept_tokens.insert(result.kept_tokens.end(), kept.begin(), kept.end());
    result.kept_tokens.resize((head + 1) * widest, -1);
    for (const std::int32_t channel : cache.layer(0).store().plan(head).keys.channels) {
      result.kept_channels.at(head * head_dim + static_cast<std::size_t>(channel)) = 1;
    }
    if (!trace.channel_scores.empty()) {
      std::ranges::copy(trace.channel_scores.at(head),
                        result.channel_scores.begin() + static_cast<std::ptrdiff_t>(head * head_dim));
    }
  }
  result.budget = static_cast<std::int64_t>(widest);
  if (!layer.decode_q.empty()) {
    result.decode_out.resize(layer.decode_q.size());
    cache.attend(0, 1, layer.tokens, layer.decode_q.data(), result.decode_out.data());
  }
  result.report = cache.report();
  return result;
}

}  // namespace thinkey::cli
