// Choosing the next token, with llama.cpp's options and order: biases, penalties, top-k, top-p, min-p,
// temperature.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>

namespace thinkey {

struct SamplerOptions {
  float temperature = 0.8F;         // 0: greedy
  std::int32_t top_k = 40;          // 0: off
  float top_p = 0.95F;              // 1: off
  float min_p = 0.05F;              // 0: off
  float repeat_penalty = 1.0F;      // 1: off
  std::int32_t repeat_last_n = 64;  // tokens the penalty looks back; -1: all, 0: off
  // OpenAI's: taken off the logit of a token that was generated, once, and once for each time.
  float presence_penalty = 0.0F;
  float frequency_penalty = 0.0F;
  std::map<std::int32_t, float> logit_bias = {};  // added to a token's logit
  std::uint64_t seed = 0;
};

class Sampler {
 public:
  explicit Sampler(const SamplerOptions& options);  // Error(Usage) when an option is out of range
  ~Sampler();
  Sampler(Sampler&&) noexcept;
  Sampler& operator=(Sampler&&) noexcept;

  // Next token for logits [V]; deterministic for a seed and a history. Ties go to the lowest id.
  [[nodiscard]] std::int32_t sample(std::span<const float> logits);
  // The same of the tokens whose place in `allowed` [V] is not 0; Error(Data) when there is none.
  [[nodiscard]] std::int32_t sample(std::span<const float> logits, std::span<const std::uint8_t> allowed);
  // Tells the sampler what was emitted (or, `generated` being false, prompted), for the penalties.
  void accept(std::int32_t token, bool generated = true);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace thinkey
