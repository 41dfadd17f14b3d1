// Which cache spec is best within so many bytes: many are tried on the same prompts, against the full cache.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "eval/report/report.h"
#include "eval/run/prompt.h"
#include "eval/run/run.h"
#include "eval/run/task.h"

namespace thinkey::eval {

// Prompts of a JSON-lines file: {"prompt"}, or {"document", "question"} asked one after the other.
// Error(Data) names file and line.
[[nodiscard]] std::vector<std::string> read_prompts(const std::filesystem::path& path, std::size_t limit);

// `count` documents of the needle generator, `tokens` long, with a question each.
[[nodiscard]] std::vector<std::string> needle_prompts(const PromptEncoder& encoder, std::size_t count,
                                                      std::size_t tokens, std::uint64_t seed);

// Specs whose cache of a `tokens` prompt is just within `bytes`: every eviction policy, ThinK, KIVI and
// Turbo, alone and combined, each with the largest token budget that fits, and the bytes themselves as a
// budget. Combinations that do not fit at all are left out.
[[nodiscard]] std::vector<CacheSpec> specs_within(const Model& model, std::size_t tokens, std::size_t bytes);

struct SweepOptions {
  std::vector<std::string> prompts;
  std::string name;             // of the prompt set, for the record
  std::size_t max_tokens = 64;  // of the full cache's answer that the others are compared on
  std::size_t context = 0;
};

// On each prompt the full cache answers greedily; every spec is fed that answer.
[[nodiscard]] Task sweep_task(std::shared_ptr<const Model> model, ChatUse chat, const SweepOptions& options);

struct Tried {
  std::string cache;
  double bytes = 0.0;  // the most over prompts
  double share = 0.0;  // mean bytes of full f16
  double kl = 0.0, kl_error = 0.0, top1 = 0.0, same = 0.0;
  bool frontier = false;  // nothing else has both fewer bytes and less divergence
  bool fits = false;
};
// In order of bytes.
[[nodiscard]] std::vector<Tried> judge(const std::vector<Record>& records, std::size_t budget);

// Among those that fit: the one with the least divergence; of those no further from it than both standard
// errors, the one with the fewest bytes. nullopt when none fits.
[[nodiscard]] std::optional<Tried> recommend(const std::vector<Tried>& tried);

[[nodiscard]] Report sweep_report(const RunIdentity& identity, const RunOutcome& outcome, std::size_t budget);

}  // namespace thinkey::eval
