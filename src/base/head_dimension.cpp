#include "base/head_dimension.h"

#include "base/fail.h"

namespace thinkey {

void check_head_dimension(std::int64_t channels, std::string_view where) {
  if (channels >= 8 && channels <= static_cast<std::int64_t>(kMaxHeadDimension) && channels % 8 == 0) return;
  fail_data("{}: head dimension {}: it must be a multiple of 8 from 8 to {}", where, channels,
            kMaxHeadDimension);
}

}  // namespace thinkey
