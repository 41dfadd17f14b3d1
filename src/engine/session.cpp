#include "thinkey/session.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <new>
#include <optional>
#include <utility>
#include <vector>

#include "base/fail.h"
#include "base/system_memory.h"
#include "cache/cache_file.h"
#include "engine/memory.h"
#include "engine/model_impl.h"
#include "engine/replay.h"
#include "model/finite.h"

namespace thinkey {
namespace {

constexpr std::size_t kMostPositions = (std::size_t{1} << 31U) - 1;  // the cache keeps positions in 32 bits

std::size_t context_length(const Model& model, std::size_t asked) {
  if (asked > kMostPositions) {
    fail_usage("a context of {} tokens: it must be 0 (the model's) to {}", asked, kMostPositions);
  }
  return asked > 0 ? asked : std::min(model.info().context_length, kMostPositions);
}

// Runs the call, with want of memory as an Error like any other.
template <typename Call>
void with_memory(const Call& call) {
  try {
    call();
  } catch (const std::bad_alloc&) {
    fail_data(
        "out of memory; shorten the prompt, compress the cache more, or use a machine with more memory");
  }
}

}  // namespace

struct Session::Impl {
  Impl(std::shared_ptr<const Model> of, const SessionOptions& options)
      : model(std::move(of)),
        decoder(ModelAccess::impl(*model).decoder()),
        shape(cache_shape(ModelAccess::impl(*model).spec)),
        context(context_length(*model, options.context)),
        memory_limit(options.memory_limit),
        cache_bytes(std::make_shared<AllocationCounter>()),
        cache(shape, options.cache, cache_bytes.get()),
        logits(decoder.network.vocabulary) {
    logits.fill(0.0F);
  }

  // A fork at the end.
  Impl(const Impl& of)
      : model(of.model),
        decoder(of.decoder),
        shape(of.shape),
        context(of.context),
        memory_limit(of.memory_limit),
        cache_bytes(of.cache_bytes),
        cache(of.cache.fork(of.cache.next_position(0), cache_bytes.get())),
        logits(of.logits.size()) {
    std::copy_n(of.logits.data(), of.logits.size(), logits.data());
  }

  // Error when `tokens` cannot follow what the session holds.
  void check_tokens(std::span<const std::int32_t> tokens) const {
    if (interrupted) {
      fail_usage("an earlier call of this session was interrupted or failed; start a new session");
    }
    check_at_rest();
    if (tokens.empty()) fail_usage("there are no tokens to run; give at least one");
    for (const std::int32_t token : tokens) {
      if (token < 0 || static_cast<std::size_t>(token) >= decoder.network.vocabulary) {
        fail_usage("token {} is outside the model's vocabulary of {}", token, decoder.network.vocabulary);
      }
    }
    const auto seen = static_cast<std::size_t>(cache.next_position(0));
    if (tokens.size() > context - seen) {
      fail_data("{} tokens after {} do not fit the context of {}; shorten the prompt or raise the context",
                tokens.size(), seen, context);
    }
  }

  void check_at_rest() const {
    if (ahead > 0) fail_usage("a draft is under way; say how much of it to keep()");
  }

  // NonFiniteError unless the logits after the sequence's token `position` are numbers.
  void check_logits(std::span<const float> row, std::int64_t position) const {
    require_finite_logits(row, position, decoder.check_finite);
  }

  [[nodiscard]] MemoryEstimate estimate(std::size_t tokens, bool all_logits,
                                        const std::vector<Replay>& replays) const {
    return cache.next_position(0) == 0
               ? estimate_memory(decoder, shape, cache.spec(), tokens, 0, all_logits, replays)
               : estimate_turn_memory(decoder, cache, tokens, all_logits);
  }

  // What the model must repeat of a first prompt, if the cache is scored by that.
  [[nodiscard]] std::vector<Replay> replays(std::span<const std::int32_t> tokens) const {
    if (cache.next_position(0) > 0 || !cache.wants_replay()) return {};
    const auto& impl = ModelAccess::impl(*model);
    return make_replays(impl.need_tokenizer(), *impl.chat, tokens);
  }

  std::shared_ptr<const Model> model;
  Decoder decoder;
  CacheShape shape;
  std::size_t context;
  std::size_t memory_limit;
  AllocationCounter forward_bytes;
  std::shared_ptr<AllocationCounter> cache_bytes;  // forks share blocks, and so what counts them
  SequenceCache cache;
  AlignedBuffer<float> logits;  // [V], of the latest token
  // Of decode(), and of decode_together() for its first session; made when needed.
  std::unique_ptr<Pass> token_pass, batch_pass;
  std::size_t batch = 0;              // sequences that batch_pass is for
  AlignedBuffer<float> batch_logits;  // [batch, V]
  // Of decode_ahead().
  std::vector<std::unique_ptr<Pass>> ahead_passes;  // by the number of tokens; made when needed
  AlignedBuffer<float> ahead_logits;                // [n, V], n the most there were
  std::size_t ahead = 0;                            // tokens that await keep()
  Draft draft;
  bool interrupted = false;  // the layers' caches differ in length
};

Session::Session(std::shared_ptr<const Model> model, const SessionOptions& options) {
  if (!model) fail_usage("a session needs a model");
  options.cache.validate();
  impl_ = std::make_unique<Impl>(std::move(model), options);
}
Session::~Session() = default;
Session::Session(Session&&) noexcept = default;
Session& Session::operator=(Session&&) noexcept = default;

void Session::prefill(std::span<const std::int32_t> tokens, const Progress& progress,
                      const LogitsSink& sink) {
  Impl& s = *impl_;
  s.check_tokens(tokens);
  const std::size_t count = tokens.size();
  std::vector<Replay> replays = s.replays(tokens);
  check_memory(s.estimate(count, static_cast<bool>(sink), replays),
               s.memory_limit > 0 ? s.memory_limit : available_memory(), count);
  const std::int64_t before = s.cache.next_position(0);
  const bool first = before == 0;
  LogitsSink checked;
  if (sink) {
    checked = [&](std::size_t index, std::span<const float> logits) {
      s.check_logits(logits, before + static_cast<std::int64_t>(index));
      sink(index, logits);
    };
  }
  try {
    with_memory([&] {
      thinkey::prefill(s.decoder, tokens, s.cache,
                       {.last_logits = s.logits.span(),
                        .progress = progress,
                        .logits = checked,
                        .counter = &s.forward_bytes,
                        .replays = std::move(replays)});
    });
    s.check_logits(s.logits.span(), before + static_cast<std::int64_t>(count) - 1);
  } catch (...) {
    if (first) {
      s.cache = SequenceCache(s.shape, s.cache.asked_spec(), s.cache_bytes.get());
    } else {
      s.interrupted = true;
    }
    throw;
  }
}

void Session::prefill_together(std::span<Session* const> sessions, std::span<const std::int32_t> tokens,
                               const Progress& progress) {
  if (sessions.empty()) return;
  Impl& first = *sessions[0]->impl_;
  const std::size_t count = tokens.size();
  std::vector<SequenceCache*> caches;
  MemoryEstimate needed;
  std::vector<Replay> replays;
  for (const Session* session : sessions) {
    if (replays.empty()) replays = session->impl_->replays(tokens);
  }
  for (Session* session : sessions) {
    Impl& s = *session->impl_;
    if (s.model != first.model || s.cache.next_position(0) != 0) {
      fail_usage("sessions prefilled together must be empty and of one model");
    }
    s.check_tokens(tokens);
    caches.push_back(&s.cache);
    const std::size_t cache_bytes = needed.cache;
    needed = s.estimate(count, false, replays);
    needed.cache += cache_bytes;
  }
  check_memory(needed, first.memory_limit > 0 ? first.memory_limit : available_memory(), count);
  try {
    with_memory([&] {
      thinkey::prefill(first.decoder, tokens, caches,
                       {.last_logits = first.logits.span(),
                        .progress = progress,
                        .logits = {},
                        .counter = &first.forward_bytes,
                        .replays = std::move(replays)});
    });
    first.check_logits(first.logits.span(), static_cast<std::int64_t>(count) - 1);
  } catch (...) {
    for (Session* session : sessions) {
      Impl& s = *session->impl_;
      s.cache = SequenceCache(s.shape, s.cache.asked_spec(), s.cache_bytes.get());
    }
    throw;
  }
  for (Session* session : sessions) {
    std::copy_n(first.logits.data(), first.logits.size(), session->impl_->logits.data());
  }
}

void Session::save(const std::filesystem::path& path) const {
  if (impl_->interrupted) {
    fail_usage("an earlier call of this session was interrupted or failed; it cannot be saved");
  }
  impl_->check_at_rest();
  save_cache(path, impl_->cache, ModelAccess::impl(*impl_->model).fingerprint(), std::as_bytes(logits()));
}

Session Session::fork() const {
  if (impl_->interrupted) {
    fail_usage("an earlier call of this session was interrupted or failed; it cannot be forked");
  }
  if (tokens_seen() == 0) fail_usage("an empty session cannot be forked; make a new one");
  Session out(impl_->model, {});
  with_memory([&] { out.impl_ = std::make_unique<Impl>(*impl_); });
  return out;
}

Session Session::load(std::shared_ptr<const Model> model, const std::filesystem::path& path,
                      std::size_t context) {
  Session session(std::move(model), {.cache = {}, .context = context});
  Impl& s = *session.impl_;
  std::optional<LoadedCache> file;
  with_memory([&] {
    file = load_cache(path, s.shape, ModelAccess::impl(*s.model).fingerprint(), s.cache_bytes.get());
  });
  LoadedCache& loaded = *file;
  if (loaded.attachment.size() != s.logits.bytes()) {
    fail_data("{}: the cache belongs to a model of another vocabulary", path.string());
  }
  std::memcpy(s.logits.data(), loaded.attachment.data(), loaded.attachment.size());
  if (first_non_finite(s.logits.span()) != s.logits.size()) {
    fail_data("{}: damaged cache file: its logits are not finite; save it again", path.string());
  }
  s.cache = std::move(loaded.cache);
  if (session.tokens_seen() > s.context) {
    fail_data("{}: holds {} tokens, the context is {}; raise the context", path.string(),
              session.tokens_seen(), s.context);
  }
  return session;
}

void Session::decode(std::int32_t token) {
  Impl& s = *impl_;
  s.check_tokens({&token, 1});
  const DecodeInput input{.token = token, .cache = &s.cache};
  s.interrupted = true;  // unless it comes to its end
  with_memory([&] {
    if (!s.token_pass) {
      s.token_pass = s.decoder.backend.pass(s.decoder.network, decode_request(s.decoder, 1), nullptr);
    }
    thinkey::decode(s.decoder, {&input, 1}, *s.token_pass, s.logits.data());
  });
  s.check_logits(logits(), s.cache.next_position(0) - 1);
  s.interrupted = false;
}

void Session::decode_together(std::span<Session* const> sessions, std::span<const std::int32_t> tokens) {
  if (sessions.size() != tokens.size()) {
    fail_usage("{} sessions cannot take {} tokens; give one for each", sessions.size(), tokens.size());
  }
  if (sessions.empty()) return;
  Impl& first = *sessions[0]->impl_;
  std::vector<DecodeInput> inputs;
  for (std::size_t i = 0; i < sessions.size(); ++i) {
    Impl& s = *sessions[i]->impl_;
    if (s.model != first.model) fail_usage("sessions decoded together must be of one model");
    const bool twice = std::any_of(inputs.begin(), inputs.end(),
                                   [&](const DecodeInput& input) { return input.cache == &s.cache; });
    if (twice) fail_usage("a session takes one token per step, but is named more than once");
    s.check_tokens(tokens.subspan(i, 1));
    inputs.push_back({.token = tokens[i], .cache = &s.cache});
  }
  for (Session* session : sessions) session->impl_->interrupted = true;  // unless it comes to its end
  const std::size_t vocabulary = first.logits.size();
  with_memory([&] {
    if (first.batch != inputs.size()) {
      first.batch = 0;
      first.batch_pass = first.decoder.backend.pass(first.decoder.network,
                                                    decode_request(first.decoder, inputs.size()), nullptr);
      first.batch_logits = AlignedBuffer<float>(inputs.size() * vocabulary);
      first.batch = inputs.size();
    }
    thinkey::decode(first.decoder, inputs, *first.batch_pass, first.batch_logits.data());
  });
  for (std::size_t i = 0; i < sessions.size(); ++i) {
    std::copy_n(first.batch_logits.data() + i * vocabulary, vocabulary, sessions[i]->impl_->logits.data());
  }
  for (const Session* session : sessions) {
    session->impl_->check_logits(session->logits(), session->impl_->cache.next_position(0) - 1);
    session->impl_->interrupted = false;
  }
}

void Session::decode_ahead(std::span<const std::int32_t> tokens) {
  Impl& s = *impl_;
  s.check_tokens(tokens);
  if (tokens.size() > 1 + draft_room()) {
    fail_usage("a draft of {} tokens, and there is room for {}", tokens.size() - 1, draft_room());
  }
  s.interrupted = true;  // unless it comes to its end
  with_memory([&] {
    const std::size_t n = tokens.size();
    if (s.ahead_passes.size() <= n) s.ahead_passes.resize(n + 1);
    std::unique_ptr<Pass>& pass = s.ahead_passes[n];
    if (!pass) pass = s.decoder.backend.pass(s.decoder.network, ahead_request(s.decoder, n), nullptr);
    if (s.ahead_logits.size() < n * s.logits.size()) {
      s.ahead_logits = AlignedBuffer<float>(n * s.logits.size());
    }
    const AheadInput input{.tokens = tokens, .cache = &s.cache, .draft = &s.draft};
    thinkey::decode_ahead(s.decoder, {&input, 1}, *pass, s.ahead_logits.data());
  });
  s.ahead = tokens.size();
  s.interrupted = false;
}

std::span<const float> Session::logits_ahead(std::size_t token) const {
  const Impl& s = *impl_;
  if (token >= s.ahead) fail_usage("logits of token {} of a draft of {}", token, s.ahead);
  const std::span<const float> row(s.ahead_logits.data() + token * s.logits.size(), s.logits.size());
  s.check_logits(row, tokens_seen() - static_cast<std::int64_t>(s.ahead - token));
  return row;
}

void Session::keep(std::size_t tokens) {
  Impl& s = *impl_;
  if (tokens == 0 || tokens > s.ahead) fail_usage("{} tokens of a draft of {} cannot stay", tokens, s.ahead);
  const std::span<const float> last = logits_ahead(tokens - 1);
  s.interrupted = true;  // unless it comes to its end
  with_memory([&] { settle(s.cache, s.decoder.network.layers.size(), s.draft, tokens - 1); });
  std::copy(last.begin(), last.end(), s.logits.data());
  s.ahead = 0;
  s.interrupted = false;
}

std::size_t Session::draft_room() const {
  const Impl& s = *impl_;
  const std::int64_t left = s.context - s.cache.next_position(0) - 1;
  return left <= 0 ? 0 : std::min(s.cache.withdrawable(), static_cast<std::size_t>(left));
}

std::span<const float> Session::logits() const noexcept { return std::as_const(impl_->logits).span(); }
std::size_t Session::tokens_seen() const noexcept {
  return static_cast<std::size_t>(impl_->cache.next_position(0));
}
std::size_t Session::context() const noexcept { return impl_->context; }
CacheReport Session::cache_report() const { return impl_->cache.report(); }
std::size_t Session::cache_bytes_allocated() const noexcept { return impl_->cache_bytes->live(); }
std::size_t Session::forward_bytes_peak() const noexcept { return impl_->forward_bytes.peak(); }
const Model& Session::model() const noexcept { return *impl_->model; }

}  // namespace thinkey
