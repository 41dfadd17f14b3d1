#include "cli/bench_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <random>
#include <thread>

#include "base/system_memory.h"
#include "cli/interrupt.h"
#include "cli/machine_limits.h"
#include "engine/model_impl.h"
#include "thinkey/session.h"

namespace thinkey::cli {

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t n = values.size();
  return n % 2 == 1 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2.0;
}

// Looks at the process's memory every few milliseconds while it lives.
class MemoryWatch {
 public:
  MemoryWatch()
      : thread_([this] {
          while (!stop_) {
            peak_ = std::max(peak_.load(), anonymous_resident_memory());
            std::this_thread::sleep_for(std::chrono::milliseconds(5));
          }
        }) {}
  ~MemoryWatch() { finish(); }
  MemoryWatch(const MemoryWatch&) = delete;
  MemoryWatch& operator=(const MemoryWatch&) = delete;

  std::size_t finish() {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
    return peak_;
  }

 private:
  std::atomic<bool> stop_{false};
  std::atomic<std::size_t> peak_{0};
  std::thread thread_;
};

class Bench {
 public:
  Bench(std::shared_ptr<const Model> model, const BenchSettings& settings,
        const std::function<void(const std::string&)>& tell)
      : model_(std::move(model)), settings_(settings), tell_(tell) {}

  BenchFigures run() {
    for (const std::size_t tokens : settings_.prompts) {
      if (settings_.together) {
        measure(tokens, settings_.specs);
      } else {
        for (const CacheSpec& spec : settings_.specs) measure(tokens, {spec});
      }
    }
    return std::move(figures_);
  }

 private:
  [[nodiscard]] std::vector<Session> sessions(const std::vector<CacheSpec>& specs, std::size_t each) const {
    std::vector<Session> made;
    const std::size_t context = *std::max_element(settings_.prompts.begin(), settings_.prompts.end()) +
                                settings_.generate * settings_.batches.size() + 1;
    for (const CacheSpec& spec : specs) {
      for (std::size_t i = 0; i < each; ++i) {
        made.emplace_back(model_, SessionOptions{.cache = spec, .context = context});
      }
    }
    return made;
  }
  static std::vector<Session*> pointers(std::vector<Session>& sessions) {
    std::vector<Session*> all;
    for (Session& s : sessions) all.push_back(&s);
    return all;
  }

  // Prefill and decode at one depth for specs that share their prefill.
  void measure(std::size_t tokens, const std::vector<CacheSpec>& specs) {
    const std::vector<std::int32_t> prompt = random_tokens(tokens);
    const std::size_t most = *std::max_element(settings_.batches.begin(), settings_.batches.end());
    std::vector<Session> held;
    if (tokens > 0) {
      std::vector<double> seconds;
      std::size_t resident = 0;
      for (std::size_t r = 0; r < settings_.repeats; ++r) {
        held.clear();
        held = sessions(specs, 1);
        tell_(fmt::format("prefill of {} tokens, {}", tokens,
                          specs.size() == 1 ? specs[0].to_string() : "all specs together"));
        MemoryWatch watch;
        const auto start = Clock::now();
        Session::prefill_together(pointers(held), prompt, check_interrupt);
        seconds.push_back(seconds_since(start));
        const std::size_t peak = watch.finish();
        resident = std::max(resident, peak - std::min(peak, model_->info().repacked_bytes));
      }
      const std::size_t forward = held[0].forward_bytes_peak();
      for (std::size_t s = 0; s < specs.size(); ++s) {
        const MemoryEstimate parts = model_->estimate(specs[s], tokens, 0);
        figures_.prefill.push_back(
            {.cache = specs[s].to_string(),
             .tokens = tokens,
             .seconds = median(seconds),
             .operations = prefill_operations(ModelAccess::impl(*model_).weights.network(), tokens),
             .memory = {.hidden_states = parts.hidden_states,
                        .layer_kv = parts.layer_kv,
                        .scratch = forward - std::min(forward, parts.hidden_states + parts.layer_kv),
                        .cache = held[s].cache_bytes_allocated(),
                        .resident = resident}});
      }
    }
    if (tokens == 0 || most > 1) {  // empty ones, or as many alike as the largest batch needs
      held.clear();
      held = sessions(specs, most);
      if (tokens > 0) {
        tell_(fmt::format("prefill of {} tokens for {} sequences", tokens, held.size()));
        Session::prefill_together(pointers(held), prompt, check_interrupt);
      }
    }
    std::vector<DecodeJob> jobs;
    for (std::size_t s = 0; s < specs.size(); ++s) {
      for (const std::size_t batch : settings_.batches) {
        jobs.push_back({specs[s], std::span<Session>(held.data() + s * most, batch)});
      }
    }
    decode(jobs, tokens);
  }

  // Sequences decoded in one step.
  struct DecodeJob {
    CacheSpec spec;
    std::span<Session> sessions;
    std::vector<double> seconds = {};
  };

  // The jobs take turns, step by step, and with a sequence whose context is empty and a plain read of memory:
  // a machine whose speed changes changes it for all of them.
  void decode(std::vector<DecodeJob>& jobs, std::size_t depth) {
    if (settings_.generate == 0) return;
    tell_(fmt::format("decode at {} tokens", depth));
    std::vector<Session> empty;
    empty.emplace_back(model_, SessionOptions{.context = settings_.generate + 1});
    DecodeJob reference{CacheSpec::parse("full"), empty};
    MemoryReader reader;
    std::vector<double> reads;
    for (std::size_t step = 0; step < settings_.generate; ++step) {
      reads.push_back(reader.read());
      time_step(reference);
      for (DecodeJob& job : jobs) time_step(job);
    }
    for (const DecodeJob& job : jobs) {
      std::size_t cache = 0;
      for (const Session& s : job.sessions) cache += s.cache_report().bytes;
      figures_.decode.push_back({.cache = job.spec.to_string(),
                                 .depth = depth,
                                 .batch = job.sessions.size(),
                                 .seconds = median(job.seconds),
                                 .empty_seconds = median(reference.seconds),
                                 .read_bytes_per_second = static_cast<double>(reader.bytes()) / median(reads),
                                 .bytes = model_->info().decode_bytes + cache,
                                 .cache_bytes = cache / job.sessions.size()});
    }
  }

  void time_step(DecodeJob& job) {
    if (interrupted()) throw Interrupted();
    std::vector<Session*> batch;
    for (Session& s : job.sessions) batch.push_back(&s);
    const std::vector<std::int32_t> tokens = random_tokens(batch.size());
    const auto start = Clock::now();
    if (batch.size() == 1) {
      batch[0]->decode(tokens[0]);
    } else {
      Session::decode_together(batch, tokens);
    }
    job.seconds.push_back(seconds_since(start));
  }

  static void check_interrupt(double, double) {
    if (interrupted()) throw Interrupted();
  }

  std::vector<std::int32_t> random_tokens(std::size_t count) {
    std::uniform_int_distribution<std::int32_t> any(0,
                                                    static_cast<std::int32_t>(model_->info().vocabulary) - 1);
    std::vector<std::int32_t> ids(count);
    for (std::int32_t& id : ids) id = any(random_);
    return ids;
  }

  std::shared_ptr<const Model> model_;
  const BenchSettings& settings_;
  const std::function<void(const std::string&)>& tell_;
  std::mt19937_64 random_{1};
  BenchFigures figures_;
};

}  // namespace

BenchFigures run_bench(const std::shared_ptr<const Model>& model, const BenchSettings& settings,
                       const std::function<void(const std::string&)>& tell) {
  return Bench(model, settings, tell).run();
}

}  // namespace thinkey::cli
