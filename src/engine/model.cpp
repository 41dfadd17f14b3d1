#define XXH_INLINE_ALL
#include "thinkey/model.h"

#include <xxhash.h>

#include <algorithm>
#include <utility>

#include "base/fail.h"
#include "base/parallel.h"
#include "base/system_memory.h"
#include "cache/sequence_cache.h"
#include "engine/memory.h"
#include "engine/model_impl.h"
#include "ops/matmul.h"
#include "ops/packed_matrix.h"

namespace thinkey {
namespace {

ModelInfo describe(const ModelFile& file) {
  const Hyperparameters& h = file.hyperparameters();
  ModelInfo info;
  info.architecture = h.architecture;
  info.name = h.name;
  info.container = file.container();
  info.vocabulary = h.vocabulary;
  info.layers = h.layers;
  info.width = h.width;
  info.query_heads = h.query_heads;
  info.kv_heads = h.kv_heads;
  info.head_dim = h.head_dim;
  info.ffn_width = h.ffn_width;
  info.context_length = h.context_length;
  info.sliding_window = h.sliding_window;
  info.rope_theta = h.rope_theta;
  info.rope_scaling = h.rope_scaling;
  info.tied_output = h.tied_output;
  info.file_bytes = file.file_bytes();
  info.metadata = file.metadata();
  for (const Tensor& tensor : file.tensors()) {
    info.parameters += tensor.rows * tensor.cols;
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

void check_counts(std::int64_t prompt, std::int64_t generate) {
  constexpr std::int64_t kMost = std::int64_t{1} << 31U;
  if (prompt < 1 || prompt >= kMost) fail_usage("a prompt of {} tokens: it must have 1 to 2^31 - 1", prompt);
  if (generate < 0 || generate >= kMost) {
    fail_usage("{} tokens to generate: it must be 0 to 2^31 - 1", generate);
  }
}

}  // namespace

std::uint64_t Model::Impl::fingerprint() const {
  std::string text;
  const Config& c = config();
  for (const std::int64_t n :
       {c.vocabulary, c.layers, c.width, c.query_heads, c.kv_heads, c.head_dim, c.ffn_width}) {
    text += fmt::format("{} ", n);
  }
  constexpr std::size_t kSample = 256;  // enough to tell two trainings apart
  for (const Tensor& tensor : file->tensors()) {
    text += fmt::format("{} {} {} {} ", tensor.name, traits(tensor.type).name, tensor.rows, tensor.cols);
    text.append(reinterpret_cast<const char*>(tensor.data), std::min(kSample, tensor.bytes));
  }
  return XXH3_64bits(text.data(), text.size());
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
  set_threads(options.threads == 0 ? available_cores() : options.threads);

  auto impl = std::make_unique<Impl>();
  impl->file = open_model_file(path);
  impl->weights = Weights(*impl->file);
  impl->info = describe(*impl->file);
  if (!impl->file->tokenizer().tokens.empty()) impl->tokenizer = Tokenizer::create(impl->file->tokenizer());
  impl->chat = std::make_unique<ChatRenderer>(impl->file->tokenizer());
  impl->info.has_tokenizer = impl->tokenizer != nullptr;
  if (options.precision != PrefillPrecision::F32 && cpu_multiplies_bf16()) impl->precision = Precision::BF16;
  if (options.decode_precision == DecodePrecision::Auto) impl->decode_activations = ActivationPrecision::Int8;
  if (options.precision == PrefillPrecision::Auto) impl->prefill_activations = ActivationPrecision::Int8;
  if (options.repack && options.decode_precision == DecodePrecision::Auto) {
    impl->weights.repack(available_memory());
  }
  impl->info.repacked_bytes = impl->weights.repacked_bytes();
  impl->weights.for_each_matrix([&](const MatrixView& m) {
    impl->info.decode_bytes += m.packed == nullptr ? m.bytes()
                                                   : packed_bytes(m.type, static_cast<std::size_t>(m.rows),
                                                                  static_cast<std::size_t>(m.cols));
    impl->info.decode_parameters += m.rows * m.cols;
    impl->info.quantized = impl->info.quantized || traits(m.type).block_elements > 1;
  });
  return std::shared_ptr<const Model>(new Model(std::move(impl)));
}

const ModelInfo& Model::info() const noexcept { return impl_->info; }

std::vector<std::int32_t> Model::tokenize(std::string_view text, bool special, bool parse_special) const {
  return impl_->need_tokenizer().encode(text, {.add_special = special, .parse_special = parse_special});
}

std::string Model::detokenize(std::span<const std::int32_t> ids, bool special) const {
  for (const std::int32_t id : ids) {
    if (id < 0 || id >= impl_->info.vocabulary) {
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

MemoryEstimate Model::estimate(const CacheSpec& spec, std::int64_t prompt, std::int64_t generate) const {
  spec.validate();
  check_counts(prompt, generate);
  MemoryEstimate out = estimate_memory(impl_->decoder(), spec, prompt, generate);
  out.scratch += DecodeState::bytes(impl_->config(), 1);
  return out;
}

CacheReport Model::estimate_cache(const CacheSpec& spec, std::int64_t tokens) const {
  spec.validate();
  check_counts(tokens, 0);
  return thinkey::estimate_cache(cache_shape(impl_->config()), spec, tokens);
}

}  // namespace thinkey
