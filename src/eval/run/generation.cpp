#include "eval/run/generation.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/system_memory.h"
#include "thinkey/generate.h"

namespace thinkey::eval {
namespace {

// Of a sample's work, for the progress bar; the rest is decoding.
constexpr double kPrefillShare = 0.7;

Record answer(Session& session, const GenerationTask& task, std::size_t sample, const Question& question,
              const Hooks& hooks) {
  const CacheReport report = session.cache_report();
  GenerateOptions options;
  options.max_tokens = question.max_tokens;
  options.sampler.temperature = 0.0F;
  std::string text;
  options.sink = [&](std::string_view piece) {
    if (hooks.checkpoint) hooks.checkpoint();
    text += piece;
    return !task.finished || !task.finished(sample, text);
  };
  const Generation generation = generate(session, {}, options);
  Record record;
  record.prediction = generation.text;
  record.values = {
      {"score", task.score(sample, question, generation.text)},
      {"prompt_tokens", static_cast<double>(question.prompt.size())},
      {"answer_tokens", static_cast<double>(generation.tokens.size() + (generation.ended ? 1 : 0))},
      {"cache_bytes", static_cast<double>(report.bytes)},
      {"full_bytes", static_cast<double>(report.full_bytes)},
      {"decode_seconds", generation.decode_seconds}};
  return record;
}

}  // namespace

std::size_t specs_that_fit(const Model& model, std::span<const CacheSpec> specs, std::size_t prompt,
                           std::size_t generate) {
  const std::size_t available = available_memory() / 10 * 9;
  if (available == 0) return specs.size();
  std::size_t needed = 0;
  for (std::size_t i = 0; i < specs.size(); ++i) {
    const MemoryEstimate estimate = model.estimate(specs[i], prompt, generate);
    if (i == 0) needed = estimate.total() - estimate.cache;
    needed += estimate.cache;
    if (i > 0 && needed > available) return i;
  }
  return specs.size();
}

std::vector<Session> prefill_specs(const std::shared_ptr<const Model>& model,
                                   std::span<const CacheSpec> specs, std::span<const std::int32_t> prompt,
                                   std::size_t context, const Hooks& hooks,
                                   const std::function<void(double)>& progress) {
  std::vector<Session> sessions;
  std::vector<Session*> together;
  sessions.reserve(specs.size());
  for (const CacheSpec& spec : specs) {
    sessions.emplace_back(model, SessionOptions{.cache = spec, .context = context});
  }
  for (Session& session : sessions) together.push_back(&session);
  Session::prefill_together(together, prompt, [&](double done, double total) {
    if (hooks.checkpoint) hooks.checkpoint();
    if (progress) progress(done / total);
  });
  return sessions;
}

Measure measure_generation(std::shared_ptr<const Model> model, GenerationTask task) {
  return [model = std::move(model), task = std::move(task)](
             std::size_t sample, std::span<const CacheSpec> specs, const Hooks& hooks, const Emit& emit) {
    const Question question = task.question(sample);
    const std::size_t length = question.prompt.size();
    const std::size_t context = task.context > 0 ? task.context : model->info().context_length;
    if (length + question.max_tokens > context) {
      throw SampleSkipped(
          fmt::format("a prompt of {} tokens and {} of an answer do not fit the context of {}", length,
                      question.max_tokens, context));
    }
    for (std::size_t first = 0; first < specs.size();) {
      const std::size_t count = specs_that_fit(*model, specs.subspan(first), length, question.max_tokens);
      const double base = static_cast<double>(first) / static_cast<double>(specs.size());
      const double share = static_cast<double>(count) / static_cast<double>(specs.size());
      const auto progress = [&](double part) {
        if (hooks.sample_progress) hooks.sample_progress(base + share * part);
      };
      const auto start = std::chrono::steady_clock::now();
      std::vector<Session> sessions =
          prefill_specs(model, specs.subspan(first, count), question.prompt, task.context, hooks,
                        [&](double part) { progress(kPrefillShare * part); });
      const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
      for (std::size_t i = 0; i < count; ++i) {
        Record record = answer(sessions[i], task, sample, question, hooks);
        record.values.emplace_back("prefill_seconds", seconds);
        emit(first + i, std::move(record));
        progress(kPrefillShare +
                 (1.0 - kPrefillShare) * static_cast<double>(i + 1) / static_cast<double>(count));
      }
      first += count;
    }
  };
}

}  // namespace thinkey::eval
