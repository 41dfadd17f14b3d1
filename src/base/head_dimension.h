// The one limit on a head's channels: kernels keep a query's numbers in arrays of this size.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace thinkey {

inline constexpr std::size_t kMaxHeadDimension = 512;

// Error(Data) "WHERE: head dimension N ..." unless it is a multiple of 8 from 8 to the limit. Every path into
// a cache passes this: model files, `compress`, saved caches.
void check_head_dimension(std::int64_t channels, std::string_view where);

}  // namespace thinkey
