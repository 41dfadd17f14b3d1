// One answer being generated.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/aligned_buffer.h"
#include "engine/prompt_lookup.h"
#include "engine/scheduler/conversations.h"
#include "engine/scheduler/job.h"
#include "engine/scheduler/text_stream.h"
#include "model/forward.h"
#include "thinkey/model.h"
#include "thinkey/sampler.h"

namespace thinkey {

struct AnswerLimits {
  std::size_t context = 0;
  std::size_t lookup = 0;  // most tokens drafted at a time (engine/prompt_lookup.h)
  bool check_finite = false;
};

class Answer {
 public:
  // `logits` [V]: after the prompt, which the conversation has seen.
  Answer(std::shared_ptr<GenerationJob> job, int choice, std::unique_ptr<Conversation> conversation,
         const Model& model, std::span<const float> logits, const AnswerLimits& limits);

  // Chooses the next token by the latest logits. Several answers may do so at once.
  void choose();
  // Tells the listener of it. The reason if the answer ends with it; else its token is to be decoded.
  [[nodiscard]] std::optional<FinishReason> deliver();

  // The token chosen and, behind it, a draft: at most `most` tokens that may be chosen next, in a step that
  // has `rows` rows without them. Valid until decoded().
  [[nodiscard]] std::span<const std::int32_t> plan(std::size_t most, std::size_t rows);
  // Where a draft's tokens are remembered while decoding.
  [[nodiscard]] Draft& draft() noexcept { return draft_; }
  // The tokens planned have been decoded; `logits` [n, V] stay until settle().
  void decoded(std::span<const float> logits);
  // Whether the token chosen is the one drafted: it has been decoded then.
  [[nodiscard]] bool follow_draft();
  // What is left of the draft goes; before decoding again, and before the conversation is anybody else's.
  void settle();
  void finish(FinishReason reason, bool last);

  [[nodiscard]] GenerationJob& job() const noexcept { return *job_; }
  [[nodiscard]] const std::shared_ptr<GenerationJob>& ticket() const noexcept { return job_; }
  [[nodiscard]] Conversation& conversation() noexcept { return *conversation_; }
  [[nodiscard]] std::unique_ptr<Conversation> release() { return std::move(conversation_); }
  // Why the latest choose() could not; empty when it could.
  [[nodiscard]] const std::string& failure() const noexcept { return failure_; }
  [[nodiscard]] std::size_t generated() const noexcept { return generated_; }
  // Tokens drafted, and those of them that were chosen.
  [[nodiscard]] std::size_t drafted() const noexcept { return drafted_; }
  [[nodiscard]] std::size_t accepted() const noexcept { return accepted_; }

 private:
  [[nodiscard]] bool is_end(std::int32_t token) const;

  std::shared_ptr<GenerationJob> job_;
  int choice_;
  std::unique_ptr<Conversation> conversation_;
  const Model& model_;
  AnswerLimits limits_;
  Sampler sampler_;
  TextStream text_;
  std::unique_ptr<TokenFilter> filter_;
  std::vector<std::uint8_t> allowed_;
  AlignedBuffer<float> first_logits_;
  std::span<const float> logits_;
  std::size_t generated_ = 0;
  std::int32_t token_ = -1;
  PromptLookup lookup_;
  std::vector<std::int32_t> step_;  // tokens decoded at once; those behind the first: a draft
  std::span<const float> rows_;     // their logits
  std::size_t taken_ = 0;           // of them, that have been chosen
  Draft draft_;
  std::size_t drafted_ = 0, accepted_ = 0;
  std::optional<TokenLogprobs> logprobs_;
  std::string failure_;
};

}  // namespace thinkey
