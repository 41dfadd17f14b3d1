// Caches that are fed the same tokens, step by step, compared with the full cache at every step.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>

#include "eval/run/task.h"
#include "thinkey/model.h"

namespace thinkey::eval {

// The token that follows at `step`, given the full cache's logits [V] there; nullopt: it ends here.
using NextToken =
    std::function<std::optional<std::int32_t>(std::size_t step, std::span<const float> full_logits)>;

// Emits a record per spec: kl (mean over steps, nats, of the full cache's distribution from this one's), top1
// (share of steps with the same likeliest token), same (1 if that is all of them: greedy decoding gives what
// the full cache gives), nll and full_nll (mean, of the tokens that followed), tokens, cache_bytes and
// full_bytes after the prompt; with `otherwise`, floor_kl, that of its full cache. As many specs at once as
// memory holds beside the full cache; `steps`: at most.
void compare_with_full(const std::shared_ptr<const Model>& model, std::span<const CacheSpec> specs,
                       std::span<const std::int32_t> prompt, std::size_t steps, std::size_t context,
                       const NextToken& next, const Hooks& hooks, const Emit& emit,
                       const std::shared_ptr<const Model>& otherwise = nullptr);

}  // namespace thinkey::eval
