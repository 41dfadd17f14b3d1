#include "eval/text/lockstep.h"

#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

#include "eval/run/generation.h"
#include "eval/text/distribution.h"
#include "thinkey/session.h"

namespace thinkey::eval {
namespace {

struct Sums {
  double kl = 0.0, nll = 0.0, agreed = 0.0;
};

// sessions[0] is the full cache; `floor`, if not null, the full cache too, decoded otherwise.
std::vector<Record> compare(std::vector<Session>& sessions, Session* floor, const NextToken& next,
                            const Hooks& hooks) {
  const std::size_t count = sessions.size() - 1;
  std::vector<Record> records(count);
  std::vector<Sums> sums(count);
  for (std::size_t e = 0; e < count; ++e) {
    const CacheReport report = sessions[e + 1].cache_report();
    records[e].values = {{"cache_bytes", static_cast<double>(report.bytes)},
                         {"full_bytes", static_cast<double>(report.full_bytes)}};
  }
  double full_nll = 0.0;
  double floor_kl = 0.0;
  std::size_t step = 0;
  for (;; ++step) {
    const std::optional<std::int32_t> token = next(step, sessions[0].logits());
    if (!token) break;
    const std::vector<double> reference = log_probabilities(sessions[0].logits());
    const std::int32_t best = likeliest(sessions[0].logits());
    full_nll -= reference[static_cast<std::size_t>(*token)];
    for (std::size_t e = 0; e < count; ++e) {
      const std::vector<double> own = log_probabilities(sessions[e + 1].logits());
      sums[e].kl += kl_divergence(reference, own);
      sums[e].nll -= own[static_cast<std::size_t>(*token)];
      sums[e].agreed += likeliest(sessions[e + 1].logits()) == best ? 1.0 : 0.0;
    }
    if (floor != nullptr) floor_kl += kl_divergence(reference, log_probabilities(floor->logits()));
    for (Session& session : sessions) {
      if (hooks.checkpoint) hooks.checkpoint();
      session.decode(*token);
    }
    if (floor != nullptr) floor->decode(*token);
  }
  if (step == 0) throw SampleSkipped("there is nothing after the prompt to compare");
  const auto steps = static_cast<double>(step);
  for (std::size_t e = 0; e < count; ++e) {
    auto& values = records[e].values;
    values.emplace_back("kl", sums[e].kl / steps);
    values.emplace_back("top1", sums[e].agreed / steps);
    values.emplace_back("same", sums[e].agreed == steps ? 1.0 : 0.0);
    values.emplace_back("nll", sums[e].nll / steps);
    values.emplace_back("full_nll", full_nll / steps);
    values.emplace_back("tokens", steps);
    if (floor != nullptr) values.emplace_back("floor_kl", floor_kl / steps);
  }
  return records;
}

}  // namespace

void compare_with_full(const std::shared_ptr<const Model>& model, std::span<const CacheSpec> specs,
                       std::span<const std::int32_t> prompt, std::size_t steps, std::size_t context,
                       const NextToken& next, const Hooks& hooks, const Emit& emit,
                       const std::shared_ptr<const Model>& otherwise) {
  for (std::size_t first = 0; first < specs.size();) {
    std::vector<CacheSpec> batch = {CacheSpec{}};
    batch.insert(batch.end(), specs.begin() + static_cast<std::ptrdiff_t>(first), specs.end());
    const std::size_t fitting = specs_that_fit(*model, batch, prompt.size(), steps);
    const std::size_t count = std::max<std::size_t>(2, fitting) - 1;
    batch.resize(count + 1);
    std::vector<Session> sessions = prefill_specs(model, batch, prompt, context, hooks, {});
    std::vector<Session> floor;
    if (otherwise) floor = prefill_specs(otherwise, std::span(batch).first(1), prompt, context, hooks, {});
    std::vector<Record> records = compare(sessions, floor.empty() ? nullptr : floor.data(), next, hooks);
    for (std::size_t i = 0; i < count; ++i) emit(first + i, std::move(records[i]));
    first += count;
  }
}

}  // namespace thinkey::eval
