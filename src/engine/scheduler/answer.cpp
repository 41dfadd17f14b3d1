#include "engine/scheduler/answer.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "engine/model_impl.h"
#include "engine/scheduler/logprobs.h"
#include "model/finite.h"

namespace thinkey {
namespace {

SamplerOptions sampler_options(const GenerationJob& job, int choice, const Model& model) {
  SamplerOptions options = job.request.sampler;
  options.seed += static_cast<std::uint64_t>(choice);
  if (job.request.ignore_end) {
    for (const std::int32_t id : ModelAccess::impl(model).file->tokenizer().end_of_generation) {
      options.logit_bias[id] = -std::numeric_limits<float>::infinity();
    }
  }
  return options;
}

}  // namespace

Answer::Answer(std::shared_ptr<GenerationJob> job, int choice, std::unique_ptr<Conversation> conversation,
               const Model& model, std::span<const float> logits, const AnswerLimits& limits)
    : job_(std::move(job)),
      choice_(choice),
      conversation_(std::move(conversation)),
      model_(model),
      limits_(limits),
      sampler_(sampler_options(*job_, choice, model)),
      text_(ModelAccess::impl(model).tokenizer.get(), job_->request.special_text, job_->request.stop),
      first_logits_(logits.size()) {
  std::copy(logits.begin(), logits.end(), first_logits_.data());
  logits_ = first_logits_.span();
  for (const std::int32_t token : job_->request.prompt) sampler_.accept(token, false);
  if (job_->request.filter) filter_ = job_->request.filter();
  if (filter_) allowed_.resize(logits.size());
}

bool Answer::is_end(std::int32_t token) const { return model_.ends_generation(token); }

void Answer::choose() {
  try {
    require_finite_logits(logits_, static_cast<std::int64_t>(conversation_->tokens.size()) - 1,
                          limits_.check_finite);
    token_ = sampler_.sample(logits_);
    // Most of the time what is likeliest may be said; where it may not, one draws among what may, which comes
    // to the same distribution as if one had at once, and to the same token where the likeliest is taken.
    if (filter_ && !filter_->allows(token_)) {
      filter_->allow(allowed_);
      token_ = sampler_.sample(logits_, allowed_);
    }
    sampler_.accept(token_);
    logprobs_.reset();
    if (job_->request.top_logprobs >= 0) {
      logprobs_ = token_logprobs(logits_, token_, job_->request.top_logprobs);
    }
  } catch (const std::exception& error) {
    failure_ = error.what();
  }
}

std::optional<FinishReason> Answer::deliver() {
  if (is_end(token_)) return FinishReason::EndToken;
  ++generated_;
  if (filter_) filter_->accept(token_);
  std::string text = text_.push(token_);
  TokenSampled event{.choice = choice_,
                     .token = token_,
                     .text = std::move(text),
                     .logprobs = std::move(logprobs_),
                     .cache = {}};
  const std::size_t every = job_->request.report_every;
  if (every > 0 && generated_ % every == 1 % every) event.cache = conversation_->cache.report();
  job_->listener(std::move(event));
  if (text_.stopped()) return FinishReason::StopString;
  if (filter_ && filter_->finished()) return FinishReason::EndToken;
  if (generated_ >= job_->max_tokens) return FinishReason::Length;
  if (conversation_->tokens.size() + 1 > limits_.context) {
    return FinishReason::ContextFull;
  }
  return std::nullopt;
}

void Answer::finish(FinishReason reason, bool last) {
  job_->listener(AnswerDone{.choice = choice_,
                            .reason = reason,
                            .text = text_.finish(),
                            .stop_string = text_.stopped().value_or(std::string()),
                            .cache = conversation_->cache.report(),
                            .last = last});
}

}  // namespace thinkey
