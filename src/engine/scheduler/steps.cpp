// What the scheduler computes: slices of a prefill, and decode steps of all running answers.
#include <algorithm>
#include <limits>
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
// Of a decode step's time, what a slice beside it may take: the step itself takes longer then, since the
// prompt's work has pushed its weights and caches out of the CPU's.
constexpr double kSliceShare = 0.75;
// Beside answers, attention is cut to so many multiply-adds for every thread: about two milliseconds.
constexpr double kAttentionBesideAnswers = 1.2e8;

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
  const double most =
      running_.empty() ? kLongestSlice : std::min(kSliceShare * step_seconds_, kLongestBesideAnswers);
  const double attention = running_.empty() ? std::numeric_limits<double>::infinity()
                                            : kAttentionBesideAnswers * static_cast<double>(threads_);
  Ticket job = starting_->job;
  try {
    Prefill& prefill = *starting_->prefill;
    bool more = true;
    double expected = 0;
    do {
      double& usual = prefill_steps_[static_cast<std::size_t>(prefill.next_step())];
      const auto before = Clock::now();
      more = prefill.advance(attention);
      const double latest = seconds_since(before);
      usual = latest > usual ? latest : usual + 0.1 * (latest - usual);
      expected = prefill_steps_[static_cast<std::size_t>(prefill.next_step())];
    } while (more && seconds_since(start) + expected <= most);
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

  const AnswerLimits limits{
      .context = context_, .lookup = options_.lookup, .check_finite = decoder_.check_finite};
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
  bool whole = true;
  try {
    answer->settle();
  } catch (const std::exception&) {
    whole = false;  // what is left in the cache is of no use; the answer is
  }
  answer->finish(reason, last);
  if (whole) keep(*answer);
}

void Scheduler::Loop::keep(Answer& answer) {
  {
    const std::scoped_lock lock(mutex_);
    status_.drafted_tokens += answer.drafted();
    status_.accepted_tokens += answer.accepted();
  }
  try {
    answer.settle();
  } catch (const std::exception&) {
    return;  // what is left in the cache is of no use
  }
  keep(answer.release());
}

Pass& Scheduler::Loop::decode_pass(std::size_t rows, bool drafts) {
  std::unique_ptr<Pass>& pass = decode_passes_[{rows, drafts}];
  if (!pass) {
    const PassRequest request = drafts ? ahead_request(decoder_, rows) : decode_request(decoder_, rows);
    pass = decoder_.backend.pass(decoder_.network, request, nullptr);
  }
  return *pass;
}

// Every running answer gets its next token, and those that a draft foresaw; those that end leave.
void Scheduler::Loop::choose_tokens() {
  std::vector<std::unique_ptr<Answer>> choosing = std::move(running_);
  running_.clear();
  LatencyHistogram first;
  LatencyHistogram next;
  std::uint64_t generated = 0;
  while (!choosing.empty()) {
    parallel_for(choosing.size(), [&](std::size_t i) { choosing[i]->choose(); });
    std::vector<std::unique_ptr<Answer>> ahead;
    for (auto& answer : choosing) {
      GenerationJob& job = answer->job();
      if (!answer->failure().empty()) {
        --job.unfinished;
        if (!job.cancelled.exchange(true)) fail(job, answer->failure(), false);  // its other answers end, too
        continue;
      }
      const auto now = Clock::now();
      const bool begins = answer->generated() == 0;
      const double waited =
          std::chrono::duration<double>(now - (begins ? job.submitted : job.latest)).count();
      const std::optional<FinishReason> reason = answer->deliver();
      job.latest = now;
      (begins ? first : next).add(waited);
      if (!reason || *reason != FinishReason::EndToken) ++generated;
      if (reason) {
        end(std::move(answer), *reason);
      } else if (answer->follow_draft()) {
        ahead.push_back(std::move(answer));
      } else {
        running_.push_back(std::move(answer));
      }
    }
    choosing = std::move(ahead);
  }
  const std::scoped_lock lock(mutex_);
  status_.generated_tokens += generated;
  for (std::size_t i = 0; i < first.counts.size(); ++i) {
    status_.first_token.counts[i] += first.counts[i];
    status_.next_token.counts[i] += next.counts[i];
  }
  status_.first_token.sum += first.sum;
  status_.next_token.sum += next.sum;
}

void Scheduler::Loop::decode_step() {
  if (running_.empty()) return;
  const auto start = Clock::now();
  choose_tokens();
  if (running_.empty()) return;

  const std::size_t vocabulary = decoder_.network.vocabulary;
  std::size_t rows = running_.size();
  const std::size_t most_rows = rows + options_.lookup;
  std::vector<AheadInput> inputs;
  try {
    for (const auto& answer : running_) {
      answer->settle();
      const auto tokens = answer->plan(most_rows - rows, rows);
      rows += tokens.size() - 1;
      inputs.push_back({.tokens = tokens, .cache = &answer->conversation().cache, .draft = &answer->draft()});
    }
    const bool drafts = rows > running_.size();
    Pass& pass = decode_pass(rows, drafts);
    if (drafts) {
      decode_ahead(decoder_, inputs, pass, logits_.data());
    } else {
      std::vector<DecodeInput> single;
      for (const AheadInput& input : inputs) {
        single.push_back({.token = input.tokens[0], .cache = input.cache});
      }
      decode(decoder_, single, pass, logits_.data());
    }
  } catch (const std::bad_alloc&) {
    fail_running("out of memory", true);
    return;
  } catch (const std::exception& error) {
    fail_running(error.what(), false);
    return;
  }
  const float* logits = logits_.data();
  for (std::size_t i = 0; i < running_.size(); ++i) {
    const std::size_t n = inputs[i].tokens.size() * vocabulary;
    running_[i]->decoded({logits, n});
    logits += n;
  }
  const double seconds = seconds_since(start);
  step_seconds_ = seconds < step_seconds_ || step_seconds_ == 0
                      ? seconds
                      : step_seconds_ + 0.1 * (seconds - step_seconds_);
  const std::scoped_lock lock(mutex_);
  ++status_.decode_steps;
  status_.decode_seconds += seconds;
}

}  // namespace thinkey
