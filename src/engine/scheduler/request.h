// What a server asks of the scheduler, and what it is told.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "thinkey/cache_report.h"
#include "thinkey/cache_spec.h"
#include "thinkey/error.h"
#include "thinkey/sampler.h"

namespace thinkey {

// Restricts an answer to a language, such as that of a JSON schema. Used by the scheduler's thread alone.
class TokenFilter {
 public:
  virtual ~TokenFilter() = default;
  // Whether a token may come next.
  [[nodiscard]] virtual bool allows(std::int32_t token) = 0;
  // Sets allowed[id] to 1 for tokens that may come next and to 0 for others; end tokens where the answer may
  // end. [V]
  virtual void allow(std::span<std::uint8_t> allowed) = 0;
  virtual void accept(std::int32_t token) = 0;
  // The answer is whole and nothing can follow it.
  [[nodiscard]] virtual bool finished() const = 0;
};

struct GenerationRequest {
  std::vector<std::int32_t> prompt;
  CacheSpec cache;
  std::optional<std::size_t> max_tokens =
      {};                   // of each answer; nullopt: until it ends or the context is full
  SamplerOptions sampler;   // answer i has seed + i
  bool ignore_end = false;  // end tokens are never chosen
  int choices = 1;          // answers to the same prompt
  std::vector<std::string> stop;
  int top_logprobs = -1;         // of every token; -1: no log-probabilities at all
  bool prompt_logprobs = false;  // also of the prompt's tokens
  bool special_text = false;     // control tokens are part of the text
  bool reuse = true;             // go on from a kept conversation
  std::size_t report_every = 0;  // so many tokens the cache is reported; 0: at the end only
  std::function<std::unique_ptr<TokenFilter>()> filter;  // empty: anything may be said
};

// Natural logarithms.
struct TokenLogprobs {
  std::int32_t token = 0;
  float logprob = 0.0F;
  std::vector<std::pair<std::int32_t, float>> top;  // likeliest first
};

enum class FinishReason : std::uint8_t { EndToken, StopString, Length, ContextFull };

struct PrefillDone {
  std::size_t cached_tokens = 0;        // of the prompt, that were not computed again
  std::vector<TokenLogprobs> logprobs;  // of prompt tokens 1, 2, ..., if asked for
};
struct TokenSampled {
  int choice = 0;
  std::int32_t token = 0;
  std::string text;  // that became certain with it: no stop string begins in it, no character is incomplete
  std::optional<TokenLogprobs> logprobs;
  std::optional<CacheReport> cache;
};
struct AnswerDone {
  int choice = 0;
  FinishReason reason = FinishReason::EndToken;
  std::string text;         // what had been held back
  std::string stop_string;  // the one that was met
  CacheReport cache;
  bool last = false;  // of the request
};
struct RequestFailed {
  std::string message;
  bool overloaded = false;  // memory is short: the same request may do later
};
using GenerationEvent = std::variant<PrefillDone, TokenSampled, AnswerDone, RequestFailed>;

// The queue is full.
class QueueFull : public Error {
 public:
  QueueFull(const std::string& message, int seconds)
      : Error(ErrorKind::Data, message), retry_after(seconds) {}
  int retry_after;  // seconds
};

}  // namespace thinkey
