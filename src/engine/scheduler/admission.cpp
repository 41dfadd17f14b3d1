// Which request begins, with what of its prompt already computed, and the memory for it.
#include <algorithm>
#include <cmath>
#include <utility>

#include "base/fail.h"
#include "base/system_memory.h"
#include "cache/growth.h"
#include "engine/memory.h"
#include "engine/model_impl.h"
#include "engine/replay.h"
#include "engine/scheduler/logprobs.h"
#include "engine/scheduler/loop.h"

namespace thinkey {
namespace {

double mebibytes(std::size_t bytes) { return static_cast<double>(bytes) / (1024.0 * 1024.0); }

}  // namespace

std::size_t Scheduler::Loop::most_bytes(const CacheSpec& spec, std::size_t prompt, std::size_t more) const {
  return most_cache_bytes(shape_, spec, prompt, more, decoder_.chunk);
}

// Of a request that begins with nothing. The last token of an answer is never put into the cache.
std::size_t Scheduler::Loop::needed(const GenerationJob& job, std::size_t max_tokens) const {
  const GenerationRequest& request = job.request;
  const std::size_t prompt = request.prompt.size();
  const auto others = static_cast<std::size_t>(request.choices - 1);
  return most_bytes(request.cache, prompt, max_tokens) +
         (others == 0 ? 0 : others * most_bytes(request.cache, 0, max_tokens));
}

void Scheduler::Loop::check(GenerationJob& job) const {
  const GenerationRequest& request = job.request;
  const std::size_t prompt = request.prompt.size();
  if (prompt == 0) fail_usage("the prompt is empty");
  for (const std::int32_t token : request.prompt) {
    if (token < 0 || static_cast<std::size_t>(token) >= decoder_.network.vocabulary) {
      fail_usage("token {} is outside the model's vocabulary of {}", token, decoder_.network.vocabulary);
    }
  }
  if (request.choices < 1 || static_cast<std::size_t>(request.choices) > options_.parallel) {
    fail_usage("{} answers to one prompt: it must be 1 to {}, the most this server computes at once",
               request.choices, options_.parallel);
  }
  request.cache.validate();
  static_cast<void>(Sampler(request.sampler));
  if (prompt > context_ || (prompt == context_ && request.max_tokens != 0)) {
    fail_usage("the prompt has {} tokens, the context is {}; shorten the prompt", prompt, context_);
  }
  const std::size_t room = context_ - prompt;
  const auto fits = [&](std::size_t tokens) { return needed(job, tokens) <= memory_.bound(); };
  if (request.max_tokens) {
    job.max_tokens = std::min(*request.max_tokens, room);
    if (fits(job.max_tokens)) return;
    fail_usage(
        "{} prompt tokens and {} x {} more under cache \"{}\" can take {:.1f} MiB, all caches together have "
        "{:.1f} MiB; ask for fewer tokens or a tighter cache",
        prompt, request.choices, job.max_tokens, request.cache.to_string(),
        mebibytes(needed(job, job.max_tokens)), mebibytes(memory_.bound()));
  }
  job.max_tokens = std::min(options_.max_tokens.value_or(room), room);
  if (fits(job.max_tokens)) return;
  std::size_t most = 0;  // that fit
  if (!fits(1)) {
    fail_usage(
        "{} prompt tokens under cache \"{}\" can take {:.1f} MiB, all caches together have {:.1f} MiB; "
        "shorten the "
        "prompt or ask for a tighter cache",
        prompt, request.cache.to_string(), mebibytes(needed(job, 1)), mebibytes(memory_.bound()));
  }
  for (std::size_t step = job.max_tokens; step > 0; step /= 2) {
    while (most + step < job.max_tokens && fits(most + step)) most += step;
  }
  job.max_tokens = std::max<std::size_t>(most, 1);
}

int Scheduler::Loop::retry_after() const {
  const double rounds = static_cast<double>(queue_.size()) / static_cast<double>(options_.parallel);
  return static_cast<int>(std::clamp(std::ceil(usual_seconds_ * std::max(rounds, 1.0)), 1.0, 120.0));
}

bool Scheduler::Loop::write(const Conversation& conversation) {
  if (!files_) return false;
  try {
    files_->save(conversation);
  } catch (const Error&) {
    return false;  // a full disk costs the conversation, not the server
  }
  return true;
}

void Scheduler::Loop::put_away(std::unique_ptr<Conversation> conversation) {
  const bool saved = write(*conversation);
  const std::scoped_lock lock(mutex_);
  ++status_.evicted;
  if (saved) ++status_.saved;
}

void Scheduler::Loop::keep(std::unique_ptr<Conversation> conversation) {
  conversation->reserve(0);
  if (options_.cache_shared && conversation->tokens.size() >= Conversations::kLeastPrefix) {
    static_cast<void>(write(*conversation));
  }
  kept_.keep(std::move(conversation));
}

// Whether a conversation was made smaller. There must be room for one more layer of it meanwhile.
bool Scheduler::Loop::compress_oldest(const Conversation* keep) {
  Conversation* whole = kept_.oldest_whole(keep);
  if (whole == nullptr) return false;
  CacheSpec spec = whole->spec();
  spec.quantization = {.bits = 4};
  const std::size_t tokens = whole->tokens.size();
  const std::size_t after = most_bytes(spec, tokens, 0);
  if (!memory_.has_room(after / shape_.layers.size() + after / 8)) return false;
  whole->cache.quantize(spec.quantization, whole->counter());
  const std::scoped_lock lock(mutex_);
  ++status_.compressed;
  return true;
}

bool Scheduler::Loop::make_room(std::size_t bytes, const Conversation* keep) {
  // Compressing takes room itself, so it begins before there is none left.
  const std::size_t headroom = memory_.bound() / 8;
  while (options_.compress_idle && !memory_.has_room(bytes + headroom) && compress_oldest(keep)) {
  }
  while (!memory_.has_room(bytes)) {
    auto oldest = kept_.take_oldest(keep);
    if (!oldest) return false;
    put_away(std::move(oldest));
  }
  return true;
}

// In memory, or brought there from a file.
Match Scheduler::Loop::find(const GenerationJob& job) {
  const GenerationRequest& request = job.request;
  if (!request.reuse || request.prompt_logprobs) return {};
  Match match = kept_.find(request.cache, request.prompt);
  if (!files_ || match.tokens + 1 >= request.prompt.size()) return match;  // no file can have more
  if (options_.cache_shared) files_->refresh();
  const ConversationFiles::Entry* entry = files_->find(request.cache, request.prompt, match.tokens);
  if (entry == nullptr) return match;
  // Making room puts others away, for which this very file may have to go.
  const std::filesystem::path path = entry->path;
  if (!make_room(entry->bytes, match.conversation)) return match;
  auto loaded = files_->load(path, memory_, shape_);
  if (!loaded) return match;
  const Match from_file = match_of(*loaded, request.prompt);
  if (from_file.tokens <= match.tokens) return match;
  kept_.keep(std::move(loaded));
  {
    const std::scoped_lock lock(mutex_);
    ++status_.restored;
  }
  return kept_.find(request.cache, request.prompt);
}

std::unique_ptr<Conversation> Scheduler::Loop::begin(const GenerationJob& job, std::size_t& cached) {
  const GenerationRequest& request = job.request;
  const std::size_t prompt = request.prompt.size();
  const auto others = static_cast<std::size_t>(request.choices - 1);
  const std::size_t forks = others == 0 ? 0 : others * most_bytes(request.cache, 0, job.max_tokens);
  std::unique_ptr<Conversation> out;
  cached = 0;
  if (const Match match = find(job); match.tokens > 0) {
    const CacheSpec& spec = match.conversation->spec();
    const std::size_t own = most_bytes(spec, 0, prompt - match.tokens + job.max_tokens);
    kept_.touch(match.conversation);
    if (make_room(own + forks, match.conversation)) {
      out = std::make_unique<Conversation>(memory_, *match.conversation, match.tokens);
      out->reserve(own + forks);
      cached = match.tokens;
      return out;
    }
    if (!idle()) return nullptr;
  }
  const std::size_t own = most_bytes(request.cache, prompt, job.max_tokens);
  if (!make_room(own + forks, nullptr)) return nullptr;
  out = std::make_unique<Conversation>(memory_, shape_, request.cache);
  out->reserve(own + forks);
  return out;
}

void Scheduler::Loop::admit() {
  if (starting_) return;
  Ticket job;
  {
    const std::scoped_lock lock(mutex_);
    if (queue_.empty()) return;
    job = queue_.front();
  }
  if (running_.size() + static_cast<std::size_t>(job->request.choices) > options_.parallel) return;
  const auto leave_queue = [&] {
    const std::scoped_lock lock(mutex_);
    std::erase(queue_, job);
    status_.prefilling = 1;  // at once: a request is at no moment counted nowhere
    status_.queue_wait.add(std::chrono::duration<double>(Clock::now() - job->submitted).count());
  };
  Starting start{
      .job = job, .conversation = nullptr, .cached = 0, .logits = {}, .logprobs = {}, .prefill = nullptr};
  try {
    start.conversation = begin(*job, start.cached);
    if (!start.conversation) return;
    leave_queue();
    const GenerationRequest& request = job->request;
    const std::span<const std::int32_t> tokens = std::span(request.prompt).subspan(start.cached);
    const std::size_t count = tokens.size();
    SequenceCache& cache = start.conversation->cache;
    std::vector<Replay> replays;
    if (start.cached == 0 && cache.wants_replay()) {
      const auto& model = ModelAccess::impl(*model_);
      replays = make_replays(model.need_tokenizer(), *model.chat, tokens);
    }
    MemoryEstimate estimate =
        start.cached == 0
            ? estimate_memory(decoder_, shape_, request.cache, count, 0, request.prompt_logprobs, replays)
            : estimate_turn_memory(decoder_, cache, count, request.prompt_logprobs);
    check_memory(estimate, available_memory(), count);
    start.logits = AlignedBuffer<float>(decoder_.network.vocabulary);
    starting_.emplace(std::move(start));
    PrefillOutputs outputs;
    outputs.last_logits = starting_->logits.span();
    outputs.replays = std::move(replays);
    if (request.prompt_logprobs) {
      outputs.logits = [this](std::size_t index, std::span<const float> logits) {
        const std::vector<std::int32_t>& prompt = starting_->job->request.prompt;
        const std::size_t next = index + 1;
        if (next == prompt.size()) return;
        starting_->logprobs.push_back(
            token_logprobs(logits, prompt[next], starting_->job->request.top_logprobs));
      };
    }
    SequenceCache* const caches[] = {&starting_->conversation->cache};
    starting_->prefill = std::make_unique<Prefill>(decoder_, tokens, caches, std::move(outputs));
  } catch (const Error& error) {
    starting_.reset();
    leave_queue();
    fail(*job, error.what(), true);
  } catch (const std::bad_alloc&) {
    starting_.reset();
    leave_queue();
    fail(*job, "out of memory", true);
  }
}

}  // namespace thinkey
