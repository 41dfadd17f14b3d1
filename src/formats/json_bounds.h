// Bounds on a stranger's JSON, looked at before it is parsed: libraries recurse as deep as it nests when they
// print or compare it, and objects that keep their order look through all keys for each.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace thinkey {

struct JsonBounds {
  std::size_t depth = 64;   // nested brackets
  std::size_t keys = 4096;  // of all objects together
};

// What exceeds the bounds, as "brackets are nested more than 64 deep"; empty when nothing does. Linear; the
// text need not be JSON.
[[nodiscard]] std::string json_excess(std::string_view text, const JsonBounds& bounds = {});

}  // namespace thinkey
