#include "server/metrics.h"

#include <fmt/format.h>

#include <iterator>

namespace thinkey::server {
namespace {

class Text {
 public:
  template <typename Number>
  void add(const char* name, const char* type, const char* help, Number value) {
    head(name, type, help);
    fmt::format_to(std::back_inserter(text_), "thinkey_{} {}\n", name, value);
  }
  void add(const char* name, const char* help, const LatencyHistogram& histogram) {
    head(name, "histogram", help);
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < histogram.counts.size(); ++i) {
      sum += histogram.counts[i];
      const bool last = i == LatencyHistogram::kBounds.size();
      fmt::format_to(std::back_inserter(text_), "thinkey_{}_bucket{{le=\"{}\"}} {}\n", name,
                     last ? "+Inf" : fmt::format("{}", LatencyHistogram::kBounds[i]), sum);
    }
    fmt::format_to(std::back_inserter(text_), "thinkey_{0}_sum {1}\nthinkey_{0}_count {2}\n", name,
                   histogram.sum, sum);
  }
  [[nodiscard]] const std::string& text() const noexcept { return text_; }

 private:
  void head(const char* name, const char* type, const char* help) {
    fmt::format_to(std::back_inserter(text_), "# HELP thinkey_{0} {1}\n# TYPE thinkey_{0} {2}\n", name, help,
                   type);
  }
  std::string text_;
};

}  // namespace

std::string prometheus_text(const SchedulerStatus& s, std::size_t connections, std::size_t http_requests) {
  Text out;
  const auto gauge = [&](const char* name, const char* help, std::size_t value) {
    out.add(name, "gauge", help, value);
  };
  const auto counter = [&](const char* name, const char* help, auto value) {
    out.add(name, "counter", help, value);
  };
  gauge("requests_running", "Answers being generated", s.running);
  gauge("requests_prefilling", "Prompts being prefilled", s.prefilling);
  gauge("requests_queued", "Requests waiting", s.queued);
  gauge("conversations", "Kept conversations in memory", s.conversations);
  gauge("conversations_on_disk", "Kept conversations in files", s.conversations_on_disk);
  gauge("http_connections", "Open connections", connections);
  gauge("kv_bytes_bound", "Most bytes that all caches may take", s.kv_bound);
  gauge("kv_bytes_used", "Bytes that caches take", s.kv_used);
  gauge("kv_bytes_reserved", "Bytes that caches take or are promised", s.kv_committed);
  gauge("kv_bytes_running", "Of those, what answers under way take or are promised", s.kv_running);
  gauge("kv_bytes_peak", "Most bytes that caches have taken", s.kv_peak);
  counter("http_requests_total", "Requests over HTTP", http_requests);
  counter("requests_total", "Requests taken into the queue", s.requests);
  counter("requests_completed_total", "Requests answered", s.completed);
  counter("requests_cancelled_total", "Requests whose client went away", s.cancelled);
  counter("requests_failed_total", "Requests that failed", s.failed);
  counter("requests_refused_total", "Requests refused because the queue was full", s.refused);
  counter("prompt_tokens_total", "Tokens of prompts", s.prompt_tokens);
  counter("cached_tokens_total", "Of those, tokens that a kept conversation had already", s.cached_tokens);
  counter("generated_tokens_total", "Tokens of answers", s.generated_tokens);
  counter("conversations_evicted_total", "Conversations dropped from memory", s.evicted);
  counter("conversations_saved_total", "Of those, written to files", s.saved);
  counter("conversations_restored_total", "Conversations read from files", s.restored);
  counter("conversations_compressed_total", "Conversations quantized for want of memory", s.compressed);
  counter("decode_steps_total", "Steps of decoding", s.decode_steps);
  counter("drafted_tokens_total", "Tokens drafted by prompt lookup, of answers that ended", s.drafted_tokens);
  counter("draft_accepted_tokens_total", "Of those, tokens that were right", s.accepted_tokens);
  counter("decode_seconds_total", "Time in them", s.decode_seconds);
  counter("prefill_seconds_total", "Time in slices of prefill", s.prefill_seconds);
  out.add("first_token_seconds", "From a request's arrival to its first token", s.first_token);
  out.add("next_token_seconds", "From a token to the next", s.next_token);
  out.add("queue_seconds", "From a request's arrival to its prefill", s.queue_wait);
  return out.text();
}

}  // namespace thinkey::server
