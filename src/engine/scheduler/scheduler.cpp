#include "engine/scheduler/scheduler.h"

#include <algorithm>
#include <utility>

#include "base/fail.h"
#include "base/parallel.h"
#include "engine/model_impl.h"
#include "engine/scheduler/loop.h"
#include "thinkey/generate.h"

namespace thinkey {
namespace {

constexpr std::size_t kMostParallel = 256;

SchedulerOptions checked(SchedulerOptions options) {
  if (options.parallel < 1 || options.parallel > kMostParallel) {
    fail_usage("{} answers at once: it must be 1 to {}", options.parallel, kMostParallel);
  }
  if (options.queue < 1) fail_usage("a queue of 0: every request passes it; it must hold 1 at least");
  if (options.lookup > kMostLookup) {
    fail_usage("lookup {}: it must be 0 (off) to {}", options.lookup, kMostLookup);
  }
  if (options.kv_memory == 0) fail_usage("a server needs memory for caches");
  return options;
}

}  // namespace

Scheduler::Loop::Loop(std::shared_ptr<const Model> model, const SchedulerOptions& options)
    : model_(std::move(model)),
      options_(checked(options)),
      decoder_(ModelAccess::impl(*model_).decoder()),
      shape_(cache_shape(ModelAccess::impl(*model_).spec)),
      context_(options.context > 0 ? options.context : model_->info().context_length),
      threads_(threads()),
      memory_(options.kv_memory),
      logits_((options.parallel + options.lookup) * decoder_.network.vocabulary) {
  if (!options_.cache_directory.empty()) {
    files_.emplace(options_.cache_directory, ModelAccess::impl(*model_).fingerprint(), options_.cache_disk);
  }
  thread_ = std::thread([this] { run(); });
}

Scheduler::Loop::~Loop() {
  {
    const std::scoped_lock lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void Scheduler::Loop::post(std::function<void()> task) {
  {
    const std::scoped_lock lock(mutex_);
    if (ending_) fail_data("the server is ending");
    tasks_.push_back(std::move(task));
  }
  changed_.notify_all();
}

Scheduler::Ticket Scheduler::Loop::submit(GenerationRequest request, GenerationListener listener) {
  auto job = std::make_shared<GenerationJob>(std::move(request), std::move(listener));
  check(*job);
  {
    const std::scoped_lock lock(mutex_);
    if (ending_ || draining_) {
      ++status_.refused;
      throw QueueFull("the server is ending; try another one", 5);
    }
    if (queue_.size() >= options_.queue) {
      ++status_.refused;
      throw QueueFull(fmt::format("{} requests are waiting already; try again later", queue_.size()),
                      retry_after());
    }
    ++status_.requests;
    queue_.push_back(job);
  }
  changed_.notify_all();
  return job;
}

void Scheduler::Loop::cancel(const Ticket& ticket) {
  ticket->cancelled.store(true);
  changed_.notify_all();
}

void Scheduler::Loop::drain(double seconds) {
  {
    const std::scoped_lock lock(mutex_);
    draining_ = true;
  }
  const auto deadline = Clock::now() + std::chrono::duration<double>(seconds);
  bool late = false;
  for (;;) {
    const bool done = between_steps([&] {
      if (late) give_up_all();
      const std::scoped_lock lock(mutex_);
      return idle() && queue_.empty();
    });
    if (done) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    late = Clock::now() > deadline;
  }
  between_steps([&] {
    while (auto conversation = kept_.take_oldest(nullptr)) put_away(std::move(conversation));
  });
}

// Everybody is told, and gone at the next step.
void Scheduler::Loop::give_up_all() {
  std::vector<Ticket> jobs;
  {
    const std::scoped_lock lock(mutex_);
    jobs.assign(queue_.begin(), queue_.end());
  }
  if (starting_) jobs.push_back(starting_->job);
  for (const auto& answer : running_) jobs.push_back(answer->ticket());
  for (const Ticket& job : jobs) {
    if (!job->cancelled.exchange(true)) fail(*job, "the server is ending", true);
  }
}

// What other threads are shown; of the scheduler's thread.
SchedulerStatus Scheduler::Loop::status() const {
  const std::scoped_lock lock(mutex_);
  SchedulerStatus out = status_;
  out.queued = queue_.size();
  return out;
}

void Scheduler::Loop::drop_cancelled() {
  std::size_t dropped = 0;
  {
    const std::scoped_lock lock(mutex_);
    dropped += std::erase_if(queue_, [](const Ticket& job) { return job->cancelled.load(); });
  }
  if (starting_ && starting_->job->cancelled.load()) {
    starting_.reset();
    ++dropped;
  }
  std::erase_if(running_, [&](std::unique_ptr<Answer>& answer) {
    if (!answer->job().cancelled.load()) return false;
    if (--answer->job().unfinished == 0) ++dropped;
    keep(*answer);
    return true;
  });
  const std::scoped_lock lock(mutex_);
  status_.cancelled += dropped;
}

bool Scheduler::Loop::take_in() {
  std::vector<std::function<void()>> tasks;
  {
    std::unique_lock lock(mutex_);
    status_.running = running_.size();
    status_.prefilling = starting_ ? 1 : 0;
    status_.conversations = kept_.size();
    status_.conversations_on_disk = files_ ? files_->size() : 0;
    status_.kv_bound = memory_.bound();
    status_.kv_used = memory_.used();
    status_.kv_committed = memory_.committed();
    const auto promised = [](const Conversation& c) { return std::max(c.reserved(), c.allocated()); };
    status_.kv_running = starting_ ? promised(*starting_->conversation) : 0;
    for (const auto& answer : running_) status_.kv_running += promised(answer->conversation());
    status_.kv_peak = memory_.peak();
    if (idle()) changed_.wait(lock, [&] { return ending_ || !tasks_.empty() || !queue_.empty(); });
    if (ending_) {
      tasks_.clear();  // who waits for one is told so by its future
      return false;
    }
    tasks.swap(tasks_);
  }
  for (const auto& task : tasks) task();
  return true;
}

void Scheduler::Loop::run() {
  while (take_in()) {
    drop_cancelled();
    admit();
    prefill_slice();
    decode_step();
  }
}

std::vector<ConversationInfo> Scheduler::Loop::conversations() {
  std::vector<ConversationInfo> out;
  const auto add = [&](const Conversation& conversation, bool running) {
    const CacheReport report = conversation.cache.report();
    out.push_back({.id = conversation.id,
                   .cache = report.spec,
                   .tokens = conversation.tokens.size(),  // the cache may hold a draft
                   .bytes = report.bytes,
                   .full_bytes = report.full_bytes,
                   .running = running});
  };
  for (const auto& answer : running_) add(answer->conversation(), true);
  for (const auto& conversation : kept_.all()) add(*conversation, false);
  return out;
}

namespace {

ConversationInfo describe(const Conversation& conversation) {
  const CacheReport report = conversation.cache.report();
  return {.id = conversation.id,
          .cache = report.spec,
          .tokens = report.tokens_seen,
          .bytes = report.bytes,
          .full_bytes = report.full_bytes};
}

void need_files(bool has_files) {
  if (!has_files) fail_usage("the server keeps no files; start it with --cache-dir");
}

}  // namespace

ConversationInfo Scheduler::Loop::save(std::uint64_t id, const std::string& name) {
  need_files(files_.has_value());
  const Conversation* conversation = kept_.by_id(id);
  if (conversation == nullptr) fail_usage("there is no kept conversation {}", id);
  files_->save_as(*conversation, name);
  return describe(*conversation);
}

ConversationInfo Scheduler::Loop::restore(const std::string& name) {
  need_files(files_.has_value());
  if (!make_room(files_->named_bytes(name), nullptr)) {
    fail_data("there is no memory for the conversation \"{}\" now", name);
  }
  auto conversation = files_->load_named(name, memory_, shape_);
  const Conversation& kept = *conversation;
  kept_.keep(std::move(conversation));
  return describe(kept);
}

void Scheduler::Loop::erase(std::uint64_t id) {
  const Conversation* conversation = kept_.by_id(id);
  if (conversation == nullptr) fail_usage("there is no kept conversation {}", id);
  kept_.take(conversation).reset();
}

Scheduler::Scheduler(std::shared_ptr<const Model> model, const SchedulerOptions& options)
    : loop_(std::make_unique<Loop>(std::move(model), options)) {}
Scheduler::~Scheduler() = default;
Scheduler::Ticket Scheduler::submit(GenerationRequest request, GenerationListener listener) {
  return loop_->submit(std::move(request), std::move(listener));
}
void Scheduler::cancel(const Ticket& ticket) { loop_->cancel(ticket); }
void Scheduler::drain(double seconds) { loop_->drain(seconds); }
SchedulerStatus Scheduler::status() const { return loop_->status(); }
std::size_t Scheduler::context() const noexcept { return loop_->context(); }
const SchedulerOptions& Scheduler::options() const noexcept { return loop_->options(); }
std::vector<ConversationInfo> Scheduler::conversations() {
  return loop_->between_steps([this] { return loop_->conversations(); });
}
ConversationInfo Scheduler::save(std::uint64_t id, const std::string& name) {
  return loop_->between_steps([&] { return loop_->save(id, name); });
}
ConversationInfo Scheduler::restore(const std::string& name) {
  return loop_->between_steps([&] { return loop_->restore(name); });
}
void Scheduler::erase(std::uint64_t id) {
  loop_->between_steps([&] { loop_->erase(id); });
}

}  // namespace thinkey
