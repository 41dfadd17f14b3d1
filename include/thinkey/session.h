// One conversation with a model: its compressed cache, and the logits of its last token.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "thinkey/cache_report.h"
#include "thinkey/cache_spec.h"
#include "thinkey/model.h"

namespace thinkey {

struct SessionOptions {
  CacheSpec cache = {};
  std::size_t context = 0;  // most tokens the session may see; 0: the model's context length
  // Most bytes a prefill may take beside the weights; 0: what the machine has available at that moment.
  std::size_t memory_limit = 0;
};

class Session {
 public:
  // Error(Usage) for an invalid cache spec or context.
  explicit Session(std::shared_ptr<const Model> model, const SessionOptions& options = {});
  ~Session();
  Session(Session&&) noexcept;
  Session& operator=(Session&&) noexcept;

  // work done so far and in all, in the same arbitrary unit; called from the calling thread.
  using Progress = std::function<void(double done, double total)>;
  // A row of logits [V] for prompt position `index` of this call, in order of index.
  using LogitsSink = std::function<void(std::size_t index, std::span<const float> logits)>;

  // Runs tokens through the model layer by layer. The first prefill compresses each layer's keys and
  // values right after that layer; later ones (further chat turns) attend to the compressed cache and
  // are appended to it. Afterwards logits() are those of the last token; with a sink, every position's
  // logits are delivered. Throws NonFiniteError (error.h) when logits are NaN or infinite, Error(Data) when
  // the context or the memory does not suffice, before any work is done, and Error(Usage) for an empty span
  // or an id outside the vocabulary. An exception from a callback passes through: after it a first prefill
  // has left the session empty, a later one has left it unusable (Error(Usage) from then on).
  void prefill(std::span<const std::int32_t> tokens, const Progress& progress = {},
               const LogitsSink& sink = {});

  // One prefill for several empty sessions of the same model: the prompt runs once, and each session
  // compresses it with its own spec. For comparing specs on the same prompt.
  static void prefill_together(std::span<Session* const> sessions, std::span<const std::int32_t> tokens,
                               const Progress& progress = {});

  // Saves what the session holds (compressed cache and latest logits), atomically: `path` is replaced
  // by a whole file or left as it was. Throws Error(Data).
  void save(const std::filesystem::path& path) const;
  // A session that goes on where the saved one stood; its spec is the saved one's. Throws Error(Data)
  // for a damaged file, or one of another model.
  [[nodiscard]] static Session load(std::shared_ptr<const Model> model, const std::filesystem::path& path,
                                    std::size_t context = 0);

  // Another session that stands where this one does. What both hold is stored once; a session and its forks
  // must be used by one thread at a time. Error(Usage) for an empty or an interrupted session.
  [[nodiscard]] Session fork() const;

  // Appends one token and computes the next logits. Throws as prefill() does; an empty session may
  // start with it.
  void decode(std::int32_t token);

  // One step of several different sessions of one model: tokens[i] is appended to sessions[i], and the
  // weights are read once for all of them. Throws as decode(); Error(Usage) when the spans' lengths differ.
  static void decode_together(std::span<Session* const> sessions, std::span<const std::int32_t> tokens);

  // decode() of tokens[0], and of those after it, a draft, as if they were known to follow: the weights are
  // read once for all of them, and logits_ahead(i) are, bit by bit, what decode() of tokens 0 to i one by one
  // gives. At most 1 + draft_room() tokens. Until keep() nothing but logits_ahead() may be called.
  void decode_ahead(std::span<const std::int32_t> tokens);
  [[nodiscard]] std::span<const float> logits_ahead(std::size_t token) const;  // [V]; throws NonFiniteError
  // The first `tokens` of them, one at least, stay; it is as if the others had never been.
  void keep(std::size_t tokens);
  // How long a draft after the next token may be: as long as the cache only adds its tokens, and the context
  // lasts; at most 32.
  [[nodiscard]] std::size_t draft_room() const;

  [[nodiscard]] std::span<const float> logits() const noexcept;  // [V], of the latest token
  [[nodiscard]] std::size_t tokens_seen() const noexcept;
  [[nodiscard]] std::size_t context() const noexcept;
  [[nodiscard]] CacheReport cache_report() const;
  [[nodiscard]] std::size_t cache_bytes_allocated()
      const noexcept;  // the allocator's count, of all forks together
  // Most bytes that the forward pass's own buffers (hidden states, one layer's K and V, scratch) have
  // taken at once; the allocator's count. Of sessions prefilled together the first one has them.
  [[nodiscard]] std::size_t forward_bytes_peak() const noexcept;
  [[nodiscard]] const Model& model() const noexcept;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace thinkey
