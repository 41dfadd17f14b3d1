// One compiled expression, searched for in texts of any length.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string_view>

namespace thinkey {

class Regex {
 public:
  struct Match {
    std::size_t start = 0, end = 0;
  };
  // Where a search goes on; a match that is empty is not found right behind another one.
  struct Cursor {
    std::size_t at = 0;
    std::optional<std::size_t> last_end;
  };

  // `expression` in Oniguruma's syntax. Throws Error(Data) when it is wrong or not supported.
  explicit Regex(std::string_view expression);
  ~Regex();
  Regex(Regex&&) noexcept;

  // The next match in `text` (valid UTF-8), nullopt at its end. Throws Error(Data) when a match takes
  // more steps than any sane expression needs.
  [[nodiscard]] std::optional<Match> next(std::string_view text, Cursor& cursor) const;

 private:
  struct Compiled;
  std::unique_ptr<const Compiled> compiled_;
};

}  // namespace thinkey
