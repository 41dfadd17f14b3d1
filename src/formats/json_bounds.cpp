#include "formats/json_bounds.h"

#include <fmt/format.h>

namespace thinkey {

std::string json_excess(std::string_view text, const JsonBounds& bounds) {
  std::size_t depth = 0;
  std::size_t keys = 0;
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      if (c == '\\') {
        ++i;
      } else if (c == '"') {
        quoted = false;
      }
      continue;
    }
    if (c == '"') quoted = true;
    if (c == '[' || c == '{') ++depth;
    if ((c == ']' || c == '}') && depth > 0) --depth;
    if (c == ':') ++keys;
    if (depth > bounds.depth) return fmt::format("brackets are nested more than {} deep", bounds.depth);
    if (keys > bounds.keys) return fmt::format("it has more than {} keys", bounds.keys);
  }
  return {};
}

}  // namespace thinkey
