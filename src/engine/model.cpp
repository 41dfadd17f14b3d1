#include "thinkey/model.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "backend/cpu/cpu_backend.h"
#include "backend/cpu/ops/packed_matrix.h"
#include "backend/cpu/weight_form.h"
#include "base/fail.h"
#include "base/parallel.h"
#include "base/system_memory.h"
#include "cache/sequence_cache.h"
#include "engine/fingerprint.h"
#include "engine/memory.h"
#include "engine/model_impl.h"
#include "engine/replay.h"
#include "model/spec_reader.h"

namespace thinkey {
namespace {

ModelInfo describe(const ModelFile& file, const ModelSpec& spec) {
  const AttentionShape& heads = spec.heads();
  ModelInfo info;
  info.architecture = spec.architecture;
  info.name = spec.name;
  info.container = file.container();
  info.vocabulary = spec.vocabulary;
  info.layers = spec.layers.size();
  info.width = spec.width;
  info.query_heads = heads.query_heads;
  info.kv_heads = heads.kv_heads;
  info.head_dim = heads.head_dim;
  info.ffn_width = spec.most_feed_forward_width();
  info.context_length = spec.context_length;
  for (const LayerSpec& layer : spec.layers) {
    const std::size_t window = layer.attention.shape.sliding_window;
    if (window == 0) continue;
    ++info.sliding_layers;
    info.sliding_window = std::max(info.sliding_window, window);
  }
  const auto& experts = spec.layers.back().feed_forward.experts;
  info.experts = experts.count;
  info.experts_used = experts.used;
  if (!spec.ropes.empty()) {
    info.rope_theta = static_cast<float>(spec.ropes.front().theta);
    info.rope_scaling = spec.ropes.front().scaling;
  }
  info.tied_output = spec.tied_output;
  info.file_bytes = file.file_bytes();
  info.metadata = file.metadata();
  for (const Tensor& tensor : file.tensors()) {
    info.parameters += tensor.planes * tensor.rows * tensor.cols;
    const std::string type(traits(tensor.type).name);
    const auto same = [&](const auto& entry) { return entry.first == type; };
    auto entry = std::find_if(info.bytes_by_tensor_type.begin(), info.bytes_by_tensor_type.end(), same);
    if (entry == info.bytes_by_tensor_type.end()) {
      entry = info.bytes_by_tensor_type.insert(entry, {type, 0});
    }
    entry->second += tensor.bytes;
  }
  return info;
}

void check_counts(std::size_t prompt, std::size_t generate) {
  constexpr std::size_t kMost = std::size_t{1} << 31U;
  if (prompt < 1 || prompt >= kMost) fail_usage("a prompt of {} tokens: it must have 1 to 2^31 - 1", prompt);
  if (generate >= kMost) {
    fail_usage("{} tokens to generate: it must be 0 to 2^31 - 1", generate);
  }
}

// In the form that multiplies prompts, if the options ask for it.
void keep_weights(const ModelOptions& options, Weights& weights) {
  constexpr std::size_t kShare = 8;
  const std::size_t memory = available_memory();
  const bool room = memory == 0 || weights.int8_bytes_if_kept() <= memory / kShare;
  if (options.prefill_weights == PrefillWeights::Kept ||
      (options.prefill_weights == PrefillWeights::Auto && room)) {
    weights.keep_int8(memory);
  }
}

}  // namespace

std::uint64_t Model::Impl::fingerprint() const {
  std::call_once(fingerprinted_, [this] { fingerprint_ = thinkey::fingerprint(*file, spec); });
  return fingerprint_;
}

const Tokenizer& Model::Impl::need_tokenizer() const {
  if (!tokenizer) {
    fail_data(
        "the model has no tokenizer; add tokenizer.json to its directory or convert it with its vocabulary");
  }
  return *tokenizer;
}

Model::Model(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Model::~Model() = default;

std::shared_ptr<const Model> Model::load(const std::filesystem::path& path, const ModelOptions& options) {
  if (options.threads < 0) fail_usage("threads = {}: it must be 0 (all cores) or more", options.threads);
  using Clock = std::chrono::steady_clock;
  const auto since = [](Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
  };
  const Clock::time_point start = Clock::now();
  set_threads(options.threads == 0 ? available_cores() : options.threads);

  auto impl = std::make_unique<Impl>();
  impl->file = open_model_file(path);
  impl->spec = read_spec(*impl->file);
  impl->weights = Weights(*impl->file, impl->spec);
  impl->info = describe(*impl->file, impl->spec);
  impl->check_finite = options.check_finite;
  if (!impl->file->tokenizer().tokens.empty()) impl->tokenizer = Tokenizer::create(impl->file->tokenizer());
  impl->chat = std::make_unique<ChatRenderer>(impl->file->tokenizer());
  impl->info.has_tokenizer = impl->tokenizer != nullptr;
  CpuOptions cpu;
  if (options.precision != PrefillPrecision::F32 && cpu_multiplies_bf16()) cpu.precision = Precision::BF16;
  if (options.decode_precision == DecodePrecision::Auto) cpu.decode_activations = ActivationPrecision::Int8;
  if (options.precision == PrefillPrecision::Auto) cpu.prefill_activations = ActivationPrecision::Int8;
  impl->backend = cpu_backend(cpu);
  impl->info.prefill_arithmetic = impl->backend->prefill_arithmetic();
  impl->info.decode_arithmetic = impl->backend->decode_arithmetic();
  if (prefill_takes_int8(cpu.precision, cpu.prefill_activations)) keep_weights(options, impl->weights);
  impl->info.prefill_weight_bytes = impl->weights.int8_bytes();
  if (options.repack && options.decode_precision == DecodePrecision::Auto) {
    const Clock::time_point repack = Clock::now();
    impl->weights.repack(available_memory());
    impl->info.repack_seconds = since(repack);
  }
  impl->info.repacked_bytes = impl->weights.repacked_bytes();
  double decode_bytes = 0;
  double decode_parameters = 0;
  impl->weights.for_each_matrix([&](const MatrixView& m, double share) {
    const std::size_t bytes = m.packed == nullptr ? m.bytes() : packed_bytes(m.type, m.rows, m.cols);
    decode_bytes += share * static_cast<double>(bytes);
    decode_parameters += share * static_cast<double>(m.rows * m.cols);
    impl->info.quantized = impl->info.quantized || traits(m.type).block_elements > 1;
  });
  impl->info.decode_bytes = static_cast<std::size_t>(decode_bytes);
  impl->info.decode_parameters = static_cast<std::size_t>(decode_parameters);
  impl->info.load_seconds = since(start);
  return std::shared_ptr<const Model>(new Model(std::move(impl)));
}

const ModelInfo& Model::info() const noexcept { return impl_->info; }

std::vector<std::int32_t> Model::tokenize(std::string_view text, const EncodeOptions& options) const {
  return impl_->need_tokenizer().encode(text, options);
}

std::string Model::detokenize(std::span<const std::int32_t> ids, bool special) const {
  for (const std::int32_t id : ids) {
    if (id < 0 || static_cast<std::size_t>(id) >= impl_->info.vocabulary) {
      fail_usage("token {} is outside the vocabulary of {}", id, impl_->info.vocabulary);
    }
  }
  return impl_->need_tokenizer().decode(ids, special);
}

bool Model::ends_generation(std::int32_t id) const noexcept {
  const auto& ends = impl_->file->tokenizer().end_of_generation;
  return std::find(ends.begin(), ends.end(), id) != ends.end();
}

std::int32_t Model::bos() const noexcept { return impl_->file->tokenizer().bos; }

std::string Model::render_chat(std::span<const ChatMessage> messages, const ChatOptions& options) const {
  return impl_->chat->render(messages, options);
}

std::string Model::render_chat_json(std::string_view conversation, const ChatOptions& options) const {
  return impl_->chat->render_json(conversation, options);
}

std::vector<std::int32_t> Model::tokenize_chat(std::string_view text) const {
  const Tokenizer& tokenizer = impl_->need_tokenizer();
  std::vector<std::int32_t> ids = tokenizer.encode(text, {.add_special = false, .parse_special = true});
  const std::int32_t bos = tokenizer.bos();
  if (tokenizer.adds_bos() && bos >= 0 && (ids.empty() || ids.front() != bos)) ids.insert(ids.begin(), bos);
  return ids;
}

MemoryEstimate Model::estimate(const CacheSpec& spec, std::size_t prompt, std::size_t generate) const {
  spec.validate();
  check_counts(prompt, generate);
  const Policy* policy = policy_of(spec.eviction.policy);
  std::vector<Replay> replays;
  if (policy != nullptr && policy->replays) {
    replays = replays_of_length(impl_->need_tokenizer(), *impl_->chat, static_cast<std::size_t>(prompt));
  }
  MemoryEstimate out = estimate_memory(impl_->decoder(), cache_shape(impl_->spec), spec, prompt, generate,
                                       false, std::move(replays));
  out.scratch += decode_bytes(impl_->decoder());
  return out;
}

CacheReport Model::estimate_cache(const CacheSpec& spec, std::size_t tokens) const {
  spec.validate();
  check_counts(tokens, 0);
  return thinkey::estimate_cache(cache_shape(impl_->spec), spec, tokens);
}

}  // namespace thinkey
