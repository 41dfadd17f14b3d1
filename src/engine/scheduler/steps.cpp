// What the scheduler computes: slices of a prefill, and decode steps of all running answers.
#include <algorithm>
#include <new>
#include <utility>

#include "base/parallel.h"
#include "engine/scheduler/loop.h"
#include "model/finite.h"

namespace thinkey {
namespace {

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Longest slice of a prefill: so soon is a cancellation noticed, where nobody's answer waits.
constexpr double kLongestSlice = 0.05;
constexpr double kLongestBesideAnswers = 0.25;

}  // namespace

void Scheduler::Loop::fail(GenerationJob& job, const std::string& message, bool overloaded) {
  job.listener(RequestFailed{.message = message, .overloaded = overloaded});
  const std::scoped_lock lock(mutex_);
  ++status_.failed;
}

void Scheduler::Loop::fail_running(const std::string& message, bool overloaded) {
  // The caches' layers may differ in length: they are of no use any more.
  std::vector<std::unique_ptr<Answer>> gone;
  gone.swap(running_);
  for (const auto& answer : gone) {
    if (--answer->job().unfinished == 0) fail(answer->job(), message, overloaded);
  }
}

void Scheduler::Loop::prefill_slice() {
  if (!starting_) return;
  const auto start = Clock::now();
  const double most = running_.empty() ? kLongestSlice : std::min(step_seconds_, kLongestBesideAnswers);
  Ticket job = starting_->job;
  try {
    bool more = true;
    do {
      more = starting_->prefill->advance();
    } while (more && seconds_since(start) < most);
    if (!more) begin_answers();
  } catch (const std::bad_alloc&) {
    starting_.reset();
    fail(*job, "out of memory", true);
  } catch (const std::exception& error) {
    starting_.reset();
    fail(*job, error.what(), false);
  }
  const std::scoped_lock lock(mutex_);
  status_.prefill_seconds += seconds_since(start);
}

void Scheduler::Loop::begin_answers() {
  Starting& start = *starting_;
  GenerationJob& job = *start.job;
  const GenerationRequest& request = job.request;
  start.prefill.reset();
  require_finite_logits(start.logits.span(), static_cast<std::int64_t>(request.prompt.size()) - 1,
                        decoder_.check_finite);
  start.conversation->tokens = request.prompt;
  {
    const std::scoped_lock lock(mutex_);
    status_.prompt_tokens += request.prompt.size();
    status_.cached_tokens += start.cached;
  }
  job.listener(PrefillDone{.cached_tokens = start.cached, .logprobs = std::move(start.logprobs)});

  const AnswerLimits limits{.context = context_, .check_finite = decoder_.check_finite};
  job.unfinished = request.choices;
  std::vector<std::unique_ptr<Answer>> answers;
  const std::size_t each = request.choices == 1 ? 0 : most_bytes(request.cache, 0, job.max_tokens);
  start.conversation->reserve(start.conversation->reserved() -
                              each * static_cast<std::size_t>(request.choices - 1));
  for (int choice = 1; choice < request.choices; ++choice) {
    auto fork = std::make_unique<Conversation>(memory_, *start.conversation, request.prompt.size());
    fork->reserve(each);
    answers.push_back(
        std::make_unique<Answer>(start.job, choice, std::move(fork), *model_, start.logits.span(), limits));
  }
  answers.insert(answers.begin(), std::make_unique<Answer>(start.job, 0, std::move(start.conversation),
                                                           *model_, start.logits.span(), limits));
  starting_.reset();
  for (auto& answer : answers) {
    if (answer->job().max_tokens == 0) {
      end(std::move(answer), FinishReason::Length);
    } else {
      running_.push_back(std::move(answer));
    }
  }
}

void Scheduler::Loop::end(std::unique_ptr<Answer> answer, FinishReason reason) {
  GenerationJob& job = answer->job();
  const bool last = --job.unfinished == 0;
  if (last) {  // before the listener, who may look
    const std::scoped_lock lock(mutex_);
    ++status_.completed;
    usual_seconds_ += 0.1 * (seconds_since(job.submitted) - usual_seconds_);
  }
  answer->finish(reason, last);
  keep(answer->release());
}

Pass& Scheduler::Loop::decode_pass(std::size_t sequences) {
  std::unique_ptr<Pass>& pass = decode_passes_[sequences];
  if (!pass) {
    pass = decoder_.backend.pass(decoder_.network, decode_request(decoder_, sequences), nullptr);
  }
  return *pass;
}

void Scheduler::Loop::decode_step() {
  if (running_.empty()) return;
  const auto start = Clock::now();
  parallel_for(running_.size(), [&](std::size_t i) { running_[i]->choose(); });

  std::vector<std::unique_ptr<Answer>> going;
  LatencyHistogram first;
  LatencyHistogram next;
  std::uint64_t generated = 0;
  for (auto& answer : running_) {
    GenerationJob& job = answer->job();
    if (!answer->failure().empty()) {
      --job.unfinished;
      if (!job.cancelled.exchange(true)) fail(job, answer->failure(), false);  // its other answers end, too
      continue;
    }
    const auto now = Clock::now();
    const bool begins = answer->generated() == 0;
    const double waited = std::chrono::duration<double>(now - (begins ? job.submitted : job.latest)).count();
    const std::optional<FinishReason> reason = answer->deliver();
    job.latest = now;
    (begins ? first : next).add(waited);
    if (!reason || *reason != FinishReason::EndToken) ++generated;
    if (reason) {
      end(std::move(answer), *reason);
    } else {
      going.push_back(std::move(answer));
    }
  }
  running_ = std::move(going);
  {
    const std::scoped_lock lock(mutex_);
    status_.generated_tokens += generated;
    for (std::size_t i = 0; i < first.counts.size(); ++i) {
      status_.first_token.counts[i] += first.counts[i];
      status_.next_token.counts[i] += next.counts[i];
    }
    status_.first_token.sum += first.sum;
    status_.next_token.sum += next.sum;
  }
  if (running_.empty()) return;

  std::vector<DecodeInput> inputs;
  for (const auto& answer : running_) {
    inputs.push_back({.token = answer->token(), .cache = &answer->conversation().cache});
  }
  try {
    decode(decoder_, inputs, decode_pass(inputs.size()), logits_.data());
  } catch (const std::bad_alloc&) {
    fail_running("out of memory", true);
    return;
  } catch (const std::exception& error) {
    fail_running(error.what(), false);
    return;
  }
  const std::size_t vocabulary = decoder_.network.vocabulary;
  for (std::size_t i = 0; i < running_.size(); ++i) {
    running_[i]->decoded({logits_.data() + i * vocabulary, vocabulary});
  }
  step_seconds_ = seconds_since(start);
  const std::scoped_lock lock(mutex_);
  ++status_.decode_steps;
  status_.decode_seconds += step_seconds_;
}

}  // namespace thinkey
