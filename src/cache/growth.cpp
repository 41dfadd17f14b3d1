#include "cache/growth.h"

#include <algorithm>
#include <vector>

#include "cache/layer_compression.h"
#include "cache/level_budget.h"
#include "cache/sequence_cache.h"

namespace thinkey {
namespace {

std::size_t blocks_for(std::size_t tokens) noexcept { return (tokens + kBlockTokens - 1) / kBlockTokens; }

// Of what a head's tables and appended blocks take.
class HeadGrowth {
 public:
  HeadGrowth(const AttentionShape& shape, const CacheSpec& spec, const LayerStores& stores)
      : shape_(shape), spec_(spec), format_(store_format(spec)), stores_(stores) {}

  // Channel lists at their longest, with means; a forked or unplanned head has them, too.
  [[nodiscard]] std::size_t tables() const noexcept { return 3 * shape_.head_dim * sizeof(std::uint16_t); }

  [[nodiscard]] std::size_t appended(std::size_t tokens, std::size_t chunk) const {
    if (tokens == 0) return 0;
    std::size_t held = tokens;
    if (shape_.sliding_window > 0) held = std::min(held, shape_.sliding_window + chunk + kBlockTokens);
    // A block that another cache shares is copied before it is written, hence one more of each kind.
    if (!format_.reduces) return (blocks_for(held) + 1) * whole_block();
    const std::size_t waiting = std::min(held, format_.sinks + format_.recent + 2 * kBlockTokens);
    return (blocks_for(waiting) + 1) * whole_block() +
           (blocks_for(held) + blocks_for(format_.recent) + 2) * thin_block();
  }

 private:
  [[nodiscard]] std::size_t whole_block() const {
    return stores_.head_bytes(
        shape_, format_,
        {.recent = 1, .keys = uniform_keys(shape_.head_dim, ElementFormat::I16), .values = shape_.head_dim});
  }
  // A head's block differs from another's where channels are spread over heads: as many as there are.
  [[nodiscard]] std::size_t thin_block() const {
    const auto dim = shape_.head_dim;
    const auto keys = spec_.channels.kept_keys(dim);
    const bool spread = spec_.channels.adaptive;
    HeadSizes sizes;
    sizes.thin = 1;
    sizes.keys = uniform_keys(spread ? shape_.head_dim : keys, format_.keys);
    sizes.value_format = format_.values;
    sizes.values = spec_.channels.kept_values(dim);
    return stores_.head_bytes(shape_, format_, sizes);
  }

  const AttentionShape& shape_;
  const CacheSpec& spec_;
  StoreFormat format_;
  const LayerStores& stores_;
};

}  // namespace

namespace {

// A budget's layers wait in interim bits, which are also the most that a head gets.
CacheSpec waiting_spec(const CacheSpec& spec, const CacheShape& shape, std::size_t prompt,
                       const LayerStores& stores) {
  CacheSpec out = resolved_spec(spec, shape, prompt, stores);
  if (!out.turbo.budgeted()) return out;
  out.turbo.keys = out.turbo.values = interim_bits(out);
  out.turbo.percent = 0.0;
  out.turbo.bytes = 0;
  out.automatic = false;
  return out;
}

}  // namespace

std::size_t most_cache_bytes(const CacheShape& shape, const CacheSpec& asked, std::size_t prompt,
                             std::size_t more, std::size_t chunk, const LayerStores& stores) {
  const CacheSpec spec = waiting_spec(asked, shape, prompt, stores);
  constexpr std::size_t kRounding = 64;  // of a block whose channels are spread
  std::size_t total = 0;
  std::size_t widest_layer = 0;
  CacheReport first;
  if (prompt > 0) first = estimate_cache(shape, spec, prompt, stores);
  const std::vector<LayerCompression> layers = compression_of_layers(shape, spec);
  for (std::size_t l = 0; l < layers.size(); ++l) {
    const AttentionShape& heads = shape.layers[l];
    const HeadGrowth growth(heads, layers[l].spec, stores);
    std::size_t bytes = prompt > 0 ? first.layers[l].bytes : 0;
    if (layers[l].spec.channels.adaptive) {
      bytes += heads.kv_heads * blocks_for(prompt) * kRounding;
    }
    bytes += heads.kv_heads * (growth.tables() + growth.appended(more, chunk));
    widest_layer = std::max(widest_layer, bytes);
    const std::size_t width = heads.query_heads * heads.head_dim;
    if (more > 0 && layers[l].spec.eviction.every > 0) {
      bytes += width * sizeof(float) * store_format(layers[l].spec).remembered;
    }
    total += bytes;
  }
  // While tokens are evicted again or get their bits, a layer's heads stand beside what they were.
  return spec.eviction.every > 0 || asked.turbo.budgeted() ? total + widest_layer : total;
}

}  // namespace thinkey
