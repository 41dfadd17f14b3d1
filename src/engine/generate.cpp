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

struct Generator::Impl {
  Impl(Session& of, const GenerateOptions& given)
      : session(of),
        options(given),
        sampler(given.sampler),
        text(ModelAccess::impl(of.model()).tokenizer.get(), options, out.text) {}

  void prefill(std::span<const std::int32_t> prompt) {
    const auto start = Clock::now();
    out.prompt_tokens = prompt.size();
    // A session that already holds something (a restored cache) may go on without a prompt.
    if (!prompt.empty() || session.tokens_seen() == 0) session.prefill(prompt, options.progress);
    for (const std::int32_t token : prompt) sampler.accept(token, false);
    if (options.lookup > 0) {
      std::vector<std::int32_t> seen(options.seen.begin(), options.seen.end());
      seen.insert(seen.end(), prompt.begin(), prompt.end());
      ahead.emplace(session, options.lookup, seen);
    }
    out.prefill_seconds = seconds_since(start);
  }

  // The next token, which is shown before it is run; nullopt at the end.
  std::optional<std::int32_t> choose() {
    if (ended) return std::nullopt;
    if (options.max_tokens && out.tokens.size() >= *options.max_tokens) {
      end(StopReason::Length);
      return std::nullopt;
    }
    if ((ahead ? ahead->tokens_seen() : session.tokens_seen()) >= session.context()) {
      end(StopReason::ContextFull);
      return std::nullopt;
    }
    const std::int32_t token = sampler.sample(ahead ? ahead->logits() : session.logits());
    sampler.accept(token);
    if (session.model().ends_generation(token)) {
      out.end_token = token;
      return token;
    }
    out.tokens.push_back(token);
    if (!text.push(token)) stopped = true;
    return token;
  }

  // The chosen token has been run.
  void ran() {
    if (out.end_token >= 0) {
      out.ended = true;
      end(StopReason::EndToken);
    } else if (stopped) {
      end(StopReason::Caller);
    }
  }

  // Runs the chosen token.
  void advance(std::int32_t token) {
    if (!ahead) return session.decode(token);
    const bool last = out.end_token >= 0 || stopped;
    const std::size_t most = options.max_tokens.value_or(std::numeric_limits<std::size_t>::max());
    ahead->advance(token, last ? 0 : most - out.tokens.size());
    if (last) ahead->finish();
    out.lookup = ahead->counts();
  }

  void end(StopReason reason) {
    if (ahead) ahead->finish();
    out.reason = reason;
    ended = true;
    if (reason != StopReason::Caller) text.finish();
  }

  Session& session;
  GenerateOptions options;
  Sampler sampler;
  Generation out;
  TextOutput text;
  std::optional<Lookahead> ahead;  // with options.lookup
  bool stopped = false;            // by the caller
  bool ended = false;
};

Generator::Generator(Session& session, std::span<const std::int32_t> prompt, const GenerateOptions& options) {
  if (options.lookup > kMostLookup) {
    fail_usage("lookup {}: it must be 0 (off) to {}", options.lookup, kMostLookup);
  }
  impl_ = std::make_unique<Impl>(session, options);
  impl_->prefill(prompt);
}
Generator::~Generator() = default;
Generator::Generator(Generator&&) noexcept = default;
Generator& Generator::operator=(Generator&&) noexcept = default;

bool Generator::step() {
  const auto start = Clock::now();
  const std::optional<std::int32_t> token = impl_->choose();
  if (token) {
    impl_->advance(*token);
    impl_->ran();
  }
  impl_->out.decode_seconds += seconds_since(start);
  return token.has_value();
}

bool Generator::step_together(std::span<Generator* const> generators) {
  const auto start = Clock::now();
  std::vector<Impl*> active;
  std::vector<Session*> sessions;
  std::vector<std::int32_t> tokens;
  for (const Generator* generator : generators) {
    if (generator->impl_->ahead) fail_usage("lookup: answers that go on together draft nothing; set it to 0");
  }
  for (Generator* generator : generators) {
    const std::optional<std::int32_t> token = generator->impl_->choose();
    if (!token) continue;
    active.push_back(generator->impl_.get());
    sessions.push_back(&generator->impl_->session);
    tokens.push_back(*token);
  }
  Session::decode_together(sessions, tokens);
  for (Impl* impl : active) {
    impl->ran();
    impl->out.decode_seconds += seconds_since(start);
  }
  return !active.empty();
}

const Generation& Generator::result() const noexcept { return impl_->out; }

Generation generate(Session& session, std::span<const std::int32_t> prompt, const GenerateOptions& options) {
  Generator generator(session, prompt, options);
  while (generator.step()) {
  }
  return generator.result();
}

}  // namespace thinkey
