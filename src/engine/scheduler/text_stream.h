// An answer's text as it becomes certain.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tokenizer/tokenizer.h"

namespace thinkey {

// Holds back incomplete characters, and what may be the beginning of a stop string: of a stop string that is
// met nothing is ever given.
class TextStream {
 public:
  TextStream(const Tokenizer* tokenizer, bool special, std::vector<std::string> stop);

  // Text that became certain with this token.
  [[nodiscard]] std::string push(std::int32_t token);
  // What is left when the answer ends otherwise than by a stop string.
  [[nodiscard]] std::string finish();
  // The stop string that was met; the answer ends before it.
  [[nodiscard]] const std::optional<std::string>& stopped() const noexcept { return stopped_; }

 private:
  [[nodiscard]] std::string release();

  std::optional<StreamDecoder> decoder_;
  std::vector<std::string> stop_;
  std::string held_;
  std::optional<std::string> stopped_;
};

}  // namespace thinkey
