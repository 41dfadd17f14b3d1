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
  if (limits_.lookup > 0) lookup_.add(job_->request.prompt);
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
  if (every > 0 && generated_ % every == 1 % every) {
    event.cache = conversation_->cache.report();
    event.cache->tokens_seen = conversation_->tokens.size();  // without a draft
  }
  job_->listener(std::move(event));
  if (text_.stopped()) return FinishReason::StopString;
  if (filter_ && filter_->finished()) return FinishReason::EndToken;
  if (generated_ >= job_->max_tokens) return FinishReason::Length;
  if (conversation_->tokens.size() + 1 > limits_.context) {
    return FinishReason::ContextFull;
  }
  return std::nullopt;
}

std::span<const std::int32_t> Answer::plan(std::size_t most, std::size_t rows) {
  step_.assign(1, token_);
  if (limits_.lookup == 0) return step_;
  lookup_.add(token_);
  // No row is of use whose token would be chosen after the last.
  const std::size_t wanted = job_->max_tokens - generated_;
  const std::size_t left = limits_.context - conversation_->tokens.size();
  const std::size_t room = std::min({most, wanted - 1, left - 1, conversation_->cache.withdrawable()});
  if (room == 0) return step_;
  const std::vector<std::int32_t> draft = lookup_.draft(room, rows);
  step_.insert(step_.end(), draft.begin(), draft.end());
  drafted_ += draft.size();
  return step_;
}

void Answer::decoded(std::span<const float> logits) {
  rows_ = logits;
  taken_ = 1;
  conversation_->tokens.push_back(token_);
  logits_ = rows_.first(rows_.size() / step_.size());
}

bool Answer::follow_draft() {
  if (taken_ == 0 || taken_ == step_.size() || step_[taken_] != token_) return false;
  const std::size_t vocabulary = rows_.size() / step_.size();
  logits_ = rows_.subspan(taken_ * vocabulary, vocabulary);
  conversation_->tokens.push_back(token_);
  lookup_.add(token_);
  ++taken_;
  ++accepted_;
  return true;
}

void Answer::settle() {
  if (taken_ == 0) return;
  const std::size_t taken = std::exchange(taken_, 0);
  if (draft_.tokens == 0) return;
  lookup_.learn(draft_.tokens, taken - 1);
  thinkey::settle(conversation_->cache, conversation_->cache.shape().layers.size(), draft_, taken - 1);
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
