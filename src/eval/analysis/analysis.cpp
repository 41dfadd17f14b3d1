#include "eval/analysis/analysis.h"

#include <algorithm>
#include <utility>

#include "base/fail.h"
#include "base/system_memory.h"
#include "cache/sequence_cache.h"
#include "engine/memory.h"
#include "engine/model_impl.h"
#include "engine/replay.h"

namespace thinkey::eval {
namespace {

constexpr std::size_t kLeastWindow = 32;  // of specs that observe no queries

class Watcher : public PrefillObserver {
 public:
  Watcher(const CacheShape& shape, std::span<const SequenceCache> caches, Analysis& analysis)
      : shape_(shape), caches_(caches), analysis_(analysis), sums_(shape.layers.front()) {}

  void attention_inputs(const AttentionInputs& inputs) override { sums_.add(inputs); }
  void compressed(std::size_t layer, const PromptView& prompt) override {
    analysis_.statistics.push_back(sums_.finish());
    for (std::size_t i = 0; i < caches_.size(); ++i) {
      analysis_.specs[i].layers.push_back(
          layer_error(shape_.layers[layer], prompt, caches_[i].layer(layer), analysis_.window));
    }
  }
  [[nodiscard]] std::size_t last_queries() const override { return analysis_.window + kEarlierQueries; }

 private:
  const CacheShape& shape_;
  std::span<const SequenceCache> caches_;
  Analysis& analysis_;
  LayerSums sums_;
};

// Refuses before the work starts what will not fit.
void check(const Model& model, std::span<const std::int32_t> tokens, std::span<const CacheSpec> specs) {
  const std::size_t count = tokens.size();
  if (tokens.empty()) fail_usage("the prompt has no tokens; give at least one");
  if (count > model.info().context_length) {
    fail_data("the prompt has {} tokens, the model's context is {}; shorten the prompt", count,
              model.info().context_length);
  }
  for (const std::int32_t token : tokens) {
    if (token < 0 || static_cast<std::size_t>(token) >= model.info().vocabulary) {
      fail_usage("token {} is outside the model's vocabulary of {}", token, model.info().vocabulary);
    }
  }
  const Decoder decoder = ModelAccess::impl(model).decoder();
  const CacheShape shape = cache_shape(ModelAccess::impl(model).spec);
  MemoryEstimate needed = estimate_memory(decoder, shape, CacheSpec{}, count, 0);
  needed.cache = 0;
  for (const CacheSpec& spec : specs) needed.cache += estimate_memory(decoder, shape, spec, count, 0).cache;
  check_memory(needed, available_memory(), count);
}

}  // namespace

Analysis analyze(const Model& model, std::span<const std::int32_t> tokens, std::span<const CacheSpec> specs,
                 const std::function<void(double done, double total)>& progress) {
  check(model, tokens, specs);
  const auto& impl = ModelAccess::impl(model);
  const Decoder decoder = impl.decoder();
  const CacheShape shape = cache_shape(impl.spec);
  Analysis analysis{
      .model = model.info().name,
      .tokens = tokens.size(),
      .layers = shape.layers.size(),
      .query_heads = shape.query_heads(),
      .kv_heads = shape.kv_heads(),
      .head_dim = shape.head_dim(),
      .window = kLeastWindow,
      .interleaved = !impl.spec.ropes.empty() && impl.spec.ropes.front().pairs == RopePairs::Interleaved,
      .statistics = {},
      .specs = {}};
  std::vector<SequenceCache> caches;
  std::vector<SequenceCache*> together;
  for (const CacheSpec& spec : specs) {
    caches.emplace_back(shape, spec);
    analysis.specs.push_back({.cache = spec.to_string(), .bytes = 0, .full_bytes = 0, .layers = {}});
    analysis.window = std::max(analysis.window, static_cast<std::size_t>(spec.observation_window()));
  }
  SequenceCache unused(shape, CacheSpec{});  // a prefill needs one
  for (SequenceCache& cache : caches) together.push_back(&cache);
  if (together.empty()) together.push_back(&unused);

  std::vector<float> logits(decoder.network.vocabulary);
  Watcher watcher(shape, caches, analysis);
  std::vector<Replay> replays;
  if (std::ranges::any_of(caches, &SequenceCache::wants_replay))
    replays = make_replays(impl.need_tokenizer(), *impl.chat, tokens);
  prefill(decoder, tokens, together,
          {.last_logits = logits, .progress = progress, .observer = &watcher, .replays = std::move(replays)});
  for (std::size_t i = 0; i < caches.size(); ++i) {
    const CacheReport report = caches[i].report();
    analysis.specs[i].bytes = report.bytes;
    analysis.specs[i].full_bytes = report.full_bytes;
  }
  return analysis;
}

}  // namespace thinkey::eval
