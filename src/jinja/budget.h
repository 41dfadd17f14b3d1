// What one rendering may spend. Templates come from strangers, so every loop and every byte is paid for.
#pragma once

#include <cstddef>
#include <cstdint>

#include "jinja/fault.h"

namespace thinkey::jinja {

inline constexpr int kMostValueDepth = 200;        // of lists in lists; what recursion over values may reach
inline constexpr int kMostEvaluationDepth = 1500;  // of expressions, blocks and macro calls within each other
inline constexpr int kMostRange = 100000;          // as Jinja's sandbox has it

// What a rendering may spend beside what grows with its input.
struct RenderLimits {
  std::size_t steps = 10'000'000;
  std::size_t bytes = std::size_t{256} << 20U;
};

class Budget {
 public:
  // Work and memory grow with what is rendered; a small conversation cannot ask for much of either.
  Budget(std::size_t input_bytes, const RenderLimits& limits)
      : steps_(limits.steps + 16 * input_bytes), bytes_(limits.bytes + 64 * input_bytes) {}

  void step(std::size_t count = 1) {
    if (count > steps_) fault("the template takes too many steps");
    steps_ -= count;
  }
  // Bytes that are made, whether or not they are kept: an upper bound of what lives.
  void make(std::size_t count) {
    if (count > bytes_) fault("the template makes too much text");
    bytes_ -= count;
    step(1 + count / 256);
  }
  // Bytes that are looked at.
  void scan(std::size_t count) { step(1 + count / 256); }

  // One level of evaluation.
  class Level {
   public:
    explicit Level(Budget& budget) : budget_(budget) {
      if (++budget_.depth_ > kMostEvaluationDepth) {
        --budget_.depth_;
        fault("the template nests its calls too deeply");
      }
    }
    ~Level() { --budget_.depth_; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;

   private:
    Budget& budget_;
  };

 private:
  std::size_t steps_;
  std::size_t bytes_;
  int depth_ = 0;
};

}  // namespace thinkey::jinja
