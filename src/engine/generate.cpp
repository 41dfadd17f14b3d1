#include "thinkey/generate.h"

#include <chrono>
#include <limits>
#include <optional>
#include <vector>

#include "base/fail.h"
#include "engine/lookahead.h"
#include "engine/model_impl.h"

namespace thinkey {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Collects the text and hands it on as it becomes complete.
class TextOutput {
 public:
  TextOutput(const Tokenizer* tokenizer, const GenerateOptions& options, std::string& text)
      : sink_(options.sink), text_(text) {
    if (tokenizer != nullptr) decoder_.emplace(*tokenizer, false, false);  // it continues a prompt
  }

  // False when the caller wants no more.
  bool push(std::int32_t token) { return decoder_ ? emit(decoder_->push(token)) : true; }
  void finish() {
    if (decoder_) emit(decoder_->finish());
  }

 private:
  bool emit(const std::string& piece) {
    if (piece.empty()) return true;
    text_ += piece;
    return !sink_ || sink_(piece);
  }

  const std::function<bool(std::string_view)>& sink_;
  std::string& text_;
  std::optional<StreamDecoder> decoder_;
};

}  // namespace

std::string_view stop_reason_name(StopReason reason) noexcept {
  switch (reason) {
    case StopReason::EndToken:
      return "eos";
    case StopReason::Length:
      return "length";
    case StopReason::ContextFull:
      return "context";
    case StopReason::Caller:
      return "stopped";
  }
  return "unknown";
}

Generation generate(Session& session, std::span<const std::int32_t> prompt, const GenerateOptions& options) {
  if (options.lookup > kMostLookup) {
    fail_usage("lookup {}: it must be 0 (off) to {}", options.lookup, kMostLookup);
  }
  const Model& model = session.model();
  Sampler sampler(options.sampler);
  Generation out;
  out.prompt_tokens = prompt.size();

  auto start = Clock::now();
  // A session that already holds something (a restored cache) may go on without a prompt.
  if (!prompt.empty() || session.tokens_seen() == 0) session.prefill(prompt, options.progress);
  for (const std::int32_t token : prompt) sampler.accept(token, false);
  out.prefill_seconds = seconds_since(start);

  start = Clock::now();
  std::vector<std::int32_t> seen(options.seen.begin(), options.seen.end());
  seen.insert(seen.end(), prompt.begin(), prompt.end());
  Lookahead ahead(session, options.lookup, seen);
  TextOutput text(ModelAccess::impl(model).tokenizer.get(), options, out.text);
  for (;;) {
    if (options.max_tokens && out.tokens.size() >= *options.max_tokens) {
      out.reason = StopReason::Length;
      break;
    }
    if (ahead.tokens_seen() >= session.context()) {
      out.reason = StopReason::ContextFull;
      break;
    }
    const std::int32_t token = sampler.sample(ahead.logits());
    sampler.accept(token);
    if (model.ends_generation(token)) {
      ahead.advance(token, 0);
      out.ended = true;
      out.end_token = token;
      out.reason = StopReason::EndToken;
      break;
    }
    out.tokens.push_back(token);
    const bool wants_more = text.push(token);  // shown before the next step is computed
    const std::size_t more =
        options.max_tokens.value_or(std::numeric_limits<std::size_t>::max()) - out.tokens.size();
    ahead.advance(token, wants_more ? more : 0);
    if (!wants_more) {
      out.reason = StopReason::Caller;
      break;
    }
  }
  ahead.finish();
  out.lookup = ahead.counts();
  if (out.reason != StopReason::Caller) text.finish();
  out.decode_seconds = seconds_since(start);
  return out;
}

}  // namespace thinkey
