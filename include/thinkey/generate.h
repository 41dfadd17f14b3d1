// The generation loop: prefill, then sample and decode until an end token, a limit or the caller says stop.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "thinkey/sampler.h"
#include "thinkey/session.h"

namespace thinkey {

inline constexpr std::size_t kMostLookup = 32;

struct GenerateOptions {
  std::optional<std::size_t> max_tokens = {};  // nullopt: until the end token or the context is full
  SamplerOptions sampler = {};
  // Most tokens drafted at a time from what was said before, 0 (none) to 32. The answer is the same, bit by
  // bit; where it repeats the prompt it comes sooner.
  std::size_t lookup = 0;
  std::span<const std::int32_t> seen = {};               // what the session holds already, to draft from
  Session::Progress progress = {};                       // during prefill
  std::function<bool(std::string_view text)> sink = {};  // complete UTF-8 text as it comes; false stops
};

enum class StopReason : std::uint8_t { EndToken, Length, ContextFull, Caller };

struct LookupCounts {
  std::size_t steps = 0;     // in which the weights were read
  std::size_t drafted = 0;   // tokens
  std::size_t accepted = 0;  // of those
};

struct Generation {
  std::vector<std::int32_t> tokens;  // generated, the end token excluded
  std::string text;
  StopReason reason = StopReason::EndToken;
  bool ended = false;           // the model's end-of-turn token is in the cache
  std::int32_t end_token = -1;  // that token
  std::size_t prompt_tokens = 0;
  double prefill_seconds = 0.0;
  double decode_seconds = 0.0;  // sampling included
  LookupCounts lookup;
};

[[nodiscard]] std::string_view stop_reason_name(
    StopReason reason) noexcept;  // "eos", "length", "context", "stopped"

// Feeds `prompt` to the session and generates. The prompt may be empty when the session holds tokens.
// Afterwards the session holds the prompt, every token of `tokens`, and the end token if `ended`: a chat goes
// on from there. Throws as Session::prefill does, and Error(Usage) for invalid options.
[[nodiscard]] Generation generate(Session& session, std::span<const std::int32_t> prompt,
                                  const GenerateOptions& options);

// generate() step by step, for callers that bring the loop.
class Generator {
 public:
  // Feeds `prompt` to the session, which must outlive the generator. Throws as generate().
  Generator(Session& session, std::span<const std::int32_t> prompt, const GenerateOptions& options);
  ~Generator();
  Generator(Generator&&) noexcept;
  Generator& operator=(Generator&&) noexcept;

  // Chooses the next token and runs it; false when the answer had ended before.
  bool step();
  // One step of several generators, whose different sessions of one model go on together: a weight is read
  // once for all. Those that have ended are passed over; false when all had.
  static bool step_together(std::span<Generator* const> generators);

  // What there is so far.
  [[nodiscard]] const Generation& result() const noexcept;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace thinkey
