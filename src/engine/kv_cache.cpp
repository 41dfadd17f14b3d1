#include "thinkey/kv_cache.h"

#include <algorithm>
#include <utility>

#include "backend/stages.h"
#include "base/fail.h"
#include "cache/policy.h"
#include "cache/sequence_cache.h"

namespace thinkey {
namespace {

// What the layers' shapes point to.
struct Tables {
  RopeSpec rope;
  std::vector<std::vector<float>> sinks;  // [L], of H or none
};

std::size_t count(std::string_view what, std::size_t n) {
  if (n < 1 || n > (std::size_t{1} << 20U)) fail_usage("cache: {} {}: it must be 1 to 1048576", n, what);
  return n;
}

std::shared_ptr<Tables> make_tables(const KvShape& shape) {
  auto tables = std::make_shared<Tables>();
  tables->rope.pairs = shape.interleaved ? RopePairs::Interleaved : RopePairs::HalfSplit;
  tables->rope.inverse_frequencies = shape.inverse_frequencies;
  tables->rope.rotated = 2 * shape.inverse_frequencies.size();
  for (const KvLayer& layer : shape.layers) {
    tables->sinks.emplace_back(layer.sinks ? count("query heads", shape.query_heads) : 0, 0.0F);
  }
  return tables;
}

CacheShape make_shape(const KvShape& shape, const Tables& tables) {
  count("layers", shape.layers.size());
  CacheShape out;
  for (std::size_t l = 0; l < shape.layers.size(); ++l) {
    const KvLayer& layer = shape.layers[l];
    out.layers.push_back({.query_heads = count("query heads", shape.query_heads),
                          .kv_heads = count("KV heads", shape.kv_heads),
                          .head_dim = count("channels of a head", shape.head_dim),
                          .sliding_window = layer.sliding_window
                                                ? count("tokens of a sliding window", *layer.sliding_window)
                                                : 0,
                          .scale = layer.scale,
                          .softcap = layer.softcap,
                          .sinks = tables.sinks[l].empty() ? nullptr : tables.sinks[l].data(),
                          .output = nullptr,
                          .rope = tables.rope.rotated > 0 ? &tables.rope : nullptr});
  }
  if (tables.rope.rotated > out.head_dim()) {
    fail_usage("cache: {} inverse frequencies turn more than the {} channels of a head",
               tables.rope.inverse_frequencies.size(), out.head_dim());
  }
  return out;
}

}  // namespace

struct KvCache::Impl {
  Impl(const KvShape& of, const CacheSpec& spec)
      : tables(make_tables(of)),
        bytes(std::make_shared<AllocationCounter>()),
        cache(make_shape(of, *tables), spec, bytes.get()) {}
  Impl(const Impl& of, std::size_t tokens)
      : tables(of.tables),
        bytes(of.bytes),
        cache(of.cache.fork(static_cast<std::int64_t>(tokens), bytes.get())) {}

  [[nodiscard]] std::size_t layers() const noexcept { return cache.shape().layers.size(); }
  [[nodiscard]] std::size_t layer_index(std::size_t layer) const {
    if (layer >= layers()) fail_usage("cache: layer {} of {}; they are numbered from 0", layer, layers());
    return layer;
  }
  [[nodiscard]] std::size_t head_index(std::size_t kv_head) const {
    if (kv_head >= cache.shape().kv_heads()) {
      fail_usage("cache: KV head {} of {}; they are numbered from 0", kv_head, cache.shape().kv_heads());
    }
    return kv_head;
  }
  [[nodiscard]] const AttentionShape& heads(std::size_t layer) const { return cache.shape().layers[layer]; }

  // The layer whose turn it is.
  [[nodiscard]] std::size_t in_turn(std::size_t layer) const {
    const std::size_t l = layer_index(layer);
    if (l != next_layer) {
      fail_usage("cache: layer {} comes when layer {} is due; every call visits the layers in order", l,
                 next_layer);
    }
    return l;
  }
  void took_turn() noexcept { next_layer = (next_layer + 1) % layers(); }

  void prompt(std::size_t layer, const KvTokens& tokens, float* out);
  void turn(std::size_t layer, const KvTokens& tokens, float* out);

  std::shared_ptr<Tables> tables;
  std::shared_ptr<AllocationCounter> bytes;  // before the cache, which it outlives
  SequenceCache cache;
  std::size_t next_layer = 0;
};

void KvCache::Impl::prompt(std::size_t layer, const KvTokens& tokens, float* out) {
  const AttentionShape& shape = heads(layer);
  const std::size_t n = tokens.n;
  if (out != nullptr) {
    std::vector<float> lse(n * shape.query_heads);
    default_stores().attend_prompt(
        shape, {.n = n, .keys = n, .capacity = n, .q = tokens.q, .k = tokens.k, .v = tokens.v}, out,
        lse.data());
    default_stores().join_sinks(shape, n, out, lse.data());
  }
  cache.compress_prompt(layer, {.tokens = n,
                                .q = tokens.q,
                                .queries = n,
                                .q_token_stride = shape.query_heads * shape.head_dim,
                                .q_head_stride = shape.head_dim,
                                .k = tokens.k,
                                .v = tokens.v,
                                .capacity = n});
}

// Later tokens, as a session's later turns and single steps: the past is attended to as it was before them.
void KvCache::Impl::turn(std::size_t layer, const KvTokens& tokens, float* out) {
  const AttentionShape& shape = heads(layer);
  const std::size_t n = tokens.n;
  const std::int64_t first = cache.next_position(layer);
  const std::size_t width = shape.kv_heads * shape.head_dim;
  std::vector<float> lse(n * shape.query_heads);
  if (out != nullptr && n > 1) {
    default_stores().attend_prompt(
        shape, {.n = n, .keys = n, .capacity = n, .q = tokens.q, .k = tokens.k, .v = tokens.v}, out,
        lse.data());
    std::vector<float> past(n * shape.query_heads * shape.head_dim);
    std::vector<float> past_lse(lse.size());
    cache.attend(layer, n, first, tokens.q, past.data(), past_lse.data());
    default_stores().join(shape, n, out, lse.data(), past.data(), past_lse.data());
  }
  if (n == 1) {
    cache.append(layer, 1, tokens.k, tokens.v, width);
    if (out != nullptr) cache.attend(layer, 1, first, tokens.q, out, lse.data());
  } else {
    std::vector<float> rows(2 * n * width);
    float* k = rows.data();
    float* v = k + n * width;
    for (std::size_t h = 0; h < shape.kv_heads; ++h) {
      for (std::size_t t = 0; t < n; ++t) {
        const std::size_t from = (h * n + t) * shape.head_dim;
        const std::size_t to = (t * shape.kv_heads + h) * shape.head_dim;
        std::copy_n(tokens.k + from, shape.head_dim, k + to);
        std::copy_n(tokens.v + from, shape.head_dim, v + to);
      }
    }
    cache.append(layer, n, k, v, width);
  }
  if (out != nullptr) default_stores().join_sinks(shape, n, out, lse.data());
  const std::size_t observed = n == 1 ? 1 : std::min(n, cache.observed_queries(true));
  cache.renew(layer, observed, first + static_cast<std::int64_t>(n - observed),
              tokens.q + (n - observed) * shape.query_heads * shape.head_dim, n > 1);
}

KvCache::KvCache(const KvShape& shape, const CacheSpec& spec) {
  spec.validate();
  refuse_without_model(spec);
  impl_ = std::make_unique<Impl>(shape, spec);
}
KvCache::KvCache(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
KvCache::~KvCache() = default;
KvCache::KvCache(KvCache&&) noexcept = default;
KvCache& KvCache::operator=(KvCache&&) noexcept = default;

void KvCache::set_sinks(std::size_t layer, std::span<const float> sinks) {
  std::vector<float>& own = impl_->tables->sinks[impl_->layer_index(layer)];
  if (own.size() != sinks.size()) {
    fail_usage("cache: {} sinks for a layer that has {}", sinks.size(), own.size());
  }
  std::ranges::copy(sinks, own.begin());
}

void KvCache::forward(std::size_t layer, const KvTokens& tokens, float* out) {
  Impl& s = *impl_;
  const std::size_t l = s.in_turn(layer);
  if (tokens.n == 0 || tokens.q == nullptr || tokens.k == nullptr || tokens.v == nullptr) {
    fail_usage("cache: {} tokens; give at least one, with its queries, keys and values", tokens.n);
  }
  constexpr std::size_t kMost = (std::size_t{1} << 31U) - 1;
  if (tokens.n > kMost - static_cast<std::size_t>(s.cache.next_position(l))) {
    fail_usage("cache: {} tokens after {} are too many", tokens.n, s.cache.next_position(l));
  }
  if (s.cache.next_position(l) == 0) {
    s.prompt(l, tokens, out);
  } else {
    s.turn(l, tokens, out);
  }
  s.took_turn();
}

void KvCache::forward_together(std::span<KvCache* const> sequences, std::size_t layer, const float* q,
                               const float* k, const float* v, float* out) {
  if (sequences.empty()) return;
  const std::size_t l = sequences[0]->impl_->in_turn(layer);
  const AttentionShape& shape = sequences[0]->impl_->heads(l);
  const std::size_t width = shape.kv_heads * shape.head_dim;
  const std::size_t query_width = shape.query_heads * shape.head_dim;
  std::vector<float> lse(sequences.size() * shape.query_heads);
  std::vector<TokenAttention> tokens;
  for (std::size_t b = 0; b < sequences.size(); ++b) {
    Impl& s = *sequences[b]->impl_;
    static_cast<void>(s.in_turn(layer));
    const AttentionShape& own = s.heads(l);
    if (own.query_heads != shape.query_heads || own.kv_heads != shape.kv_heads ||
        own.head_dim != shape.head_dim) {
      fail_usage("cache: sequences of different heads cannot go on together");
    }
    if (s.cache.next_position(l) == 0) fail_usage("cache: sequence {} has no prompt yet", b);
    if (std::find(sequences.begin(), sequences.begin() + static_cast<std::ptrdiff_t>(b), sequences[b]) !=
        sequences.begin() + static_cast<std::ptrdiff_t>(b)) {
      fail_usage("cache: a sequence takes one token per call, but is named more than once");
    }
    tokens.push_back({.store = &s.cache.layer(l).store(),
                      .position = s.cache.next_position(l),
                      .q = q + b * query_width,
                      .out = out + b * query_width,
                      .lse = lse.data() + b * shape.query_heads});
  }
  for (std::size_t b = 0; b < sequences.size(); ++b) {
    sequences[b]->impl_->cache.append(l, 1, k + b * width, v + b * width, width);
  }
  SequenceCache::attend_together(tokens);
  for (std::size_t b = 0; b < sequences.size(); ++b) {
    Impl& s = *sequences[b]->impl_;
    s.cache.renew(l, 1, tokens[b].position, tokens[b].q, false);
    default_stores().join_sinks(s.heads(l), 1, tokens[b].out, tokens[b].lse);
    s.took_turn();
  }
}

void KvCache::attend(std::size_t layer, std::size_t n, const float* q, float* out) const {
  const std::size_t l = impl_->layer_index(layer);
  const AttentionShape& shape = impl_->heads(l);
  const std::size_t width = shape.query_heads * shape.head_dim;
  std::vector<float> lse(shape.query_heads);
  for (std::size_t i = 0; i < n; ++i) {
    const std::size_t row = i * width;
    impl_->cache.attend(l, 1, impl_->cache.next_position(l), q + row, out + row, lse.data());
    default_stores().join_sinks(shape, 1, out + row, lse.data());
  }
}

KvCache KvCache::fork(std::size_t tokens) const {
  if (impl_->next_layer != 0) fail_usage("cache: it can be forked when all layers have seen the same tokens");
  if (tokens > tokens_seen() || !impl_->cache.can_fork(static_cast<std::int64_t>(tokens))) {
    fail_usage(
        "cache: it cannot go back to its first {} of {} tokens: tokens it would still have then are dropped",
        tokens, tokens_seen());
  }
  return KvCache(std::make_unique<Impl>(*impl_, tokens));
}

std::size_t KvCache::tokens_seen() const noexcept {
  return static_cast<std::size_t>(impl_->cache.next_position(impl_->layers() - 1));
}

std::vector<std::int32_t> KvCache::kept_tokens(std::size_t layer, std::size_t kv_head) const {
  const LayerStore& store = impl_->cache.layer(impl_->layer_index(layer)).store();
  std::vector<std::int32_t> positions = store.positions(impl_->head_index(kv_head));
  std::ranges::sort(positions);
  return positions;
}

std::vector<std::int32_t> KvCache::kept_channels(std::size_t layer, std::size_t kv_head) const {
  const LayerStore& store = impl_->cache.layer(impl_->layer_index(layer)).store();
  return store.plan(impl_->head_index(kv_head)).keys.channels;
}

CacheReport KvCache::report() const { return impl_->cache.report(); }
std::size_t KvCache::bytes_allocated() const noexcept { return impl_->bytes->live(); }
const CacheSpec& KvCache::spec() const noexcept { return impl_->cache.spec(); }

}  // namespace thinkey
