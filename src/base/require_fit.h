// Sizes that two places must agree on, checked in every build: a buffer would be overrun.
#pragma once

#include <stdexcept>

namespace thinkey {

// std::logic_error saying `what`: a fault of ours, never of an input.
inline void require_fit(bool fits, const char* what) {
  if (!fits) throw std::logic_error(what);
}

}  // namespace thinkey
