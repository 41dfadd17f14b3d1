// Measuring what caches answer: one prefill per sample for all specs, then each spec generates greedily.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "eval/run/task.h"
#include "thinkey/model.h"
#include "thinkey/session.h"

namespace thinkey::eval {

struct Question {
  std::vector<std::int32_t> prompt;
  std::vector<std::string> references;
  std::size_t max_tokens = 32;
};

struct GenerationTask {
  std::function<Question(std::size_t sample)> question;  // may throw SampleSkipped
  // In [0, 1].
  std::function<double(std::size_t sample, const Question& question, std::string_view prediction)> score;
  // Whether the text generated so far is all that counts; empty: never.
  std::function<bool(std::size_t sample, std::string_view text)> finished = {};
  std::size_t context = 0;  // most tokens of prompt and answer; 0: the model's
};

// Records have the values score, prompt_tokens, answer_tokens, cache_bytes and full_bytes (after the prompt),
// prefill_seconds (shared by the specs of one prefill) and decode_seconds; and the text that was generated.
// A sample that does not fit the context is skipped.
[[nodiscard]] Measure measure_generation(std::shared_ptr<const Model> model, GenerationTask task);

// Which of the specs to prefill together next, so that their caches fit into memory beside one prefill:
// the first so many, at least one.
[[nodiscard]] std::size_t specs_that_fit(const Model& model, std::span<const CacheSpec> specs,
                                         std::size_t prompt, std::size_t generate);

// Sessions of these specs holding `prompt`, prefilled at once. `progress` gets the share done.
[[nodiscard]] std::vector<Session> prefill_specs(const std::shared_ptr<const Model>& model,
                                                 std::span<const CacheSpec> specs,
                                                 std::span<const std::int32_t> prompt, std::size_t context,
                                                 const Hooks& hooks,
                                                 const std::function<void(double)>& progress);

}  // namespace thinkey::eval
