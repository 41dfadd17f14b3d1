// One answer being generated.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/aligned_buffer.h"
#include "engine/scheduler/conversations.h"
#include "engine/scheduler/job.h"
#include "engine/scheduler/text_stream.h"
#include "thinkey/model.h"
#include "thinkey/sampler.h"

namespace thinkey {

struct AnswerLimits {
  std::size_t context = 0;
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

  // The token chosen has been decoded; `logits` [V] stay until the next choose().
  void decoded(std::span<const float> logits) {
    conversation_->tokens.push_back(token_);
    logits_ = logits;
  }
  void finish(FinishReason reason, bool last);

  [[nodiscard]] GenerationJob& job() const noexcept { return *job_; }
  [[nodiscard]] const std::shared_ptr<GenerationJob>& ticket() const noexcept { return job_; }
  [[nodiscard]] std::int32_t token() const noexcept { return token_; }
  [[nodiscard]] Conversation& conversation() noexcept { return *conversation_; }
  [[nodiscard]] std::unique_ptr<Conversation> release() { return std::move(conversation_); }
  // Why the latest choose() could not; empty when it could.
  [[nodiscard]] const std::string& failure() const noexcept { return failure_; }
  [[nodiscard]] std::size_t generated() const noexcept { return generated_; }

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
  std::optional<TokenLogprobs> logprobs_;
  std::string failure_;
};

}  // namespace thinkey
