// The scheduler's thread and what it works on.
#pragma once

#include <array>
#include <condition_variable>
#include <deque>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "engine/scheduler/answer.h"
#include "engine/scheduler/conversation_files.h"
#include "engine/scheduler/conversations.h"
#include "engine/scheduler/kv_memory.h"
#include "engine/scheduler/scheduler.h"
#include "model/forward.h"

namespace thinkey {

class Scheduler::Loop {
 public:
  Loop(std::shared_ptr<const Model> model, const SchedulerOptions& options);
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  // -- any thread
  [[nodiscard]] Ticket submit(GenerationRequest request, GenerationListener listener);
  void cancel(const Ticket& ticket);
  void drain(double seconds);
  [[nodiscard]] SchedulerStatus status() const;
  [[nodiscard]] std::size_t context() const noexcept { return context_; }
  [[nodiscard]] const SchedulerOptions& options() const noexcept { return options_; }

  // Runs it between two steps and gives what it gives, exceptions included.
  template <typename Call>
  auto between_steps(Call call) -> decltype(call()) {
    using Result = decltype(call());
    auto task = std::make_shared<std::packaged_task<Result()>>(std::move(call));
    std::future<Result> result = task->get_future();
    post([task] { (*task)(); });
    return result.get();
  }

  // -- between steps
  [[nodiscard]] std::vector<ConversationInfo> conversations();
  [[nodiscard]] ConversationInfo save(std::uint64_t id, const std::string& name);
  [[nodiscard]] ConversationInfo restore(const std::string& name);
  void erase(std::uint64_t id);

 private:
  using Clock = std::chrono::steady_clock;

  // The prompt that is being prefilled.
  struct Starting {
    Ticket job;
    std::unique_ptr<Conversation> conversation;
    std::size_t cached = 0;
    AlignedBuffer<float> logits;
    std::vector<TokenLogprobs> logprobs;
    std::unique_ptr<Prefill> prefill;  // after what it refers to
  };

  void post(std::function<void()> task);
  void run();
  // What has come in since; false when the loop is to end. Waits where there is nothing else to do.
  bool take_in();
  [[nodiscard]] bool idle() const noexcept { return !starting_ && running_.empty(); }
  void drop_cancelled();
  void give_up_all();

  // admission.cpp
  void admit();
  [[nodiscard]] bool make_room(std::size_t bytes, const Conversation* keep);
  [[nodiscard]] bool compress_oldest(const Conversation* keep);
  void put_away(std::unique_ptr<Conversation> conversation);
  // Among the kept ones; in a shared directory also as a file, which other servers find.
  void keep(std::unique_ptr<Conversation> conversation);
  // Whether there is a file of it now.
  [[nodiscard]] bool write(const Conversation& conversation);
  // The conversation with which the job begins, and how many tokens of the prompt it holds; null when it has
  // to wait for memory.
  [[nodiscard]] std::unique_ptr<Conversation> begin(const GenerationJob& job, std::size_t& cached);
  [[nodiscard]] Match find(const GenerationJob& job);
  [[nodiscard]] std::size_t most_bytes(const CacheSpec& spec, std::size_t prompt, std::size_t more) const;
  // Error(Usage) for what can never be; decides max_tokens.
  void check(GenerationJob& job) const;
  [[nodiscard]] std::size_t needed(const GenerationJob& job, std::size_t max_tokens) const;
  [[nodiscard]] int retry_after() const;

  // steps.cpp
  void prefill_slice();
  void begin_answers();
  void choose_tokens();
  void decode_step();
  // What the answer leaves is kept.
  void keep(Answer& answer);
  void end(std::unique_ptr<Answer> answer, FinishReason reason);
  void fail(GenerationJob& job, const std::string& message, bool overloaded);
  void fail_running(const std::string& message, bool overloaded);
  [[nodiscard]] Pass& decode_pass(std::size_t rows, bool drafts);

  std::shared_ptr<const Model> model_;
  SchedulerOptions options_;
  Decoder decoder_;
  CacheShape shape_;
  std::size_t context_;
  int threads_;

  // Shared with other threads.
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Ticket> queue_;
  std::vector<std::function<void()>> tasks_;
  bool ending_ = false;
  bool draining_ = false;
  SchedulerStatus status_;
  double usual_seconds_ = 1;  // from submission to the end of a request, lately

  // Of the scheduler's thread.
  KvMemory memory_;
  Conversations kept_;
  std::optional<ConversationFiles> files_;
  std::optional<Starting> starting_;
  std::vector<std::unique_ptr<Answer>> running_;
  std::map<std::pair<std::size_t, bool>, std::unique_ptr<Pass>> decode_passes_;  // by rows, and with drafts
  AlignedBuffer<float> logits_;                                                  // [parallel + lookup, V]
  double step_seconds_ = 0;                              // of a decode step lately, the slow ones apart
  std::array<double, Prefill::kSteps> prefill_steps_{};  // seconds, the longest lately
  std::thread thread_;                                   // last: it uses the rest
};

}  // namespace thinkey
