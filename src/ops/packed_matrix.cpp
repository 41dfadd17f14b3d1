#include "ops/packed_matrix.h"

#include <algorithm>
#include <cassert>
#include <cstring>

#include "base/parallel.h"
#include "ops/packed_formats.h"

#if defined(__x86_64__)
#include "ops/vnni_formats-inl.h"
#endif

namespace thinkey {
namespace {

constexpr std::size_t groups_of(std::size_t cols) noexcept { return (cols + kInt8Group - 1) / kInt8Group; }
constexpr std::size_t panels_of(std::size_t rows) noexcept {
  return (rows + kPackedPanel - 1) / kPackedPanel;
}

}  // namespace

std::size_t packed_bytes(TensorType type, std::size_t rows, std::size_t cols) noexcept {
  const auto group = [&]<TensorType kType>() { return PackedFormat<kType>::kGroupBytes; };
  return panels_of(rows) * groups_of(cols) * visit_packed<std::size_t>(type, group);
}

#if defined(__x86_64__)

namespace {

constexpr std::size_t kBlocksOfGroup = kInt8Group / kInt8Block;

void copy_half(const std::uint8_t* from, std::uint8_t* to) { std::memcpy(to, from, 2); }

// The scales of one row's group into row `r` of the packed one.
template <TensorType kType>
void pack_scales(const std::uint8_t* group, std::size_t r, std::uint8_t* out) {
  using P = PackedFormat<kType>;
  if constexpr (!P::kSuper) {
    constexpr std::size_t kBlockBytes = vnni::Format<kType>::kBytes / kBlocksOfGroup;
    for (std::size_t b = 0; b < kBlocksOfGroup; ++b) {
      for (std::size_t kind = 0; kind < P::kKinds; ++kind) {
        copy_half(group + b * kBlockBytes + 2 * kind, out + P::scales_at(b, kind) + 2 * r);
      }
    }
  } else if constexpr (P::kMinimum) {  // Q4_K and Q5_K: 12 bytes of 6-bit scales and minima
    copy_half(group, out + P::kSuperAt + 2 * r);
    copy_half(group + 2, out + P::kSuperAt + 2 * kPackedPanel + 2 * r);
    const std::uint8_t* packed = group + 4;
    for (std::size_t s = 0; s < P::kSubs; ++s) {
      const bool low = s < 4;
      const unsigned scale = low ? packed[s] & 0x3FU : (packed[s + 4] & 0x0FU) | (packed[s - 4] >> 6U << 4U);
      const unsigned minimum = low ? packed[s + 4] & 0x3FU : (packed[s + 4] >> 4U) | (packed[s] >> 6U << 4U);
      out[P::scales_at(s, 0) + r] = static_cast<std::uint8_t>(scale);
      out[P::scales_at(s, 1) + r] = static_cast<std::uint8_t>(minimum);
    }
  } else {  // Q6_K: 16 signed scales and d at its end
    copy_half(group + 208, out + P::kSuperAt + 2 * r);
    for (std::size_t s = 0; s < P::kSubs; ++s) out[P::scales_at(s, 0) + r] = group[192 + s];
  }
}

// codes [16 rows][256] as the kernel wants them.
template <TensorType kType>
void pack_codes(const std::uint8_t (*codes)[kInt8Group], std::uint8_t* out) {
  using P = PackedFormat<kType>;
  for (std::size_t row = 0; row < kPackedPanel; ++row) {
    for (std::size_t column = 0; column < kInt8Group; ++column) {
      const unsigned code = codes[row][column];
      const std::size_t block = column / kInt8Block;
      const std::size_t side = block % 2;
      const std::size_t quad = column % kInt8Block / 4;
      const std::size_t lane = 4 * row + column % 4;
      std::uint8_t* pair = out + block / 2 * P::kPairBytes;
      if constexpr (P::kBits == 8) {
        pair[64 * (2 * quad + side) + lane] = static_cast<std::uint8_t>(code);
      } else {
        pair[P::nibbles_at(quad) + lane] |= static_cast<std::uint8_t>((code & 0x0FU) << (4 * side));
      }
      if constexpr (P::kBits == 5) {
        pair[8 * (2 * quad + side) + lane / 8] |= static_cast<std::uint8_t>((code >> 4U) << (lane % 8));
      }
      if constexpr (P::kBits == 6) {
        pair[P::upper_at(quad) + lane] |=
            static_cast<std::uint8_t>((code >> 4U) << (2 * (side + 2 * (quad % 2))));
      }
    }
  }
}

template <TensorType kType>
THINKEY_VNNI void unpack_codes(const std::uint8_t* group, std::uint8_t* codes) {
  const vnni::Format<kType> format;
  for (std::size_t k = 0; k < 4; ++k) _mm512_storeu_si512(codes + 64 * k, format.codes(group, k));
}

template <TensorType kType>
void pack_panel(const MatrixView& matrix, std::size_t panel, std::uint8_t* out) {
  using P = PackedFormat<kType>;
  using F = vnni::Format<kType>;
  const auto cols = static_cast<std::size_t>(matrix.cols);
  const std::size_t first = panel * kPackedPanel;
  const std::size_t rows = std::min(kPackedPanel, static_cast<std::size_t>(matrix.rows) - first);
  const std::size_t row_size = matrix.row_stride();
  for (std::size_t g = 0; g < groups_of(cols); ++g, out += P::kGroupBytes) {
    std::memset(out, 0, P::kGroupBytes);
    std::uint8_t codes[kPackedPanel][kInt8Group] = {};
    for (std::size_t r = 0; r < rows; ++r) {
      const std::size_t at = g * F::kBytes;
      const auto* row =
          reinterpret_cast<const std::uint8_t*>(matrix.row(static_cast<std::int64_t>(first + r)));
      std::uint8_t group[F::kBytes] = {};  // the last one may be of fewer blocks
      std::memcpy(group, row + at, std::min(F::kBytes, row_size - at));
      pack_scales<kType>(group, r, out);
      unpack_codes<kType>(group, codes[r]);
    }
    pack_codes<kType>(codes, out);
  }
}

}  // namespace

void pack_matrix(const MatrixView& matrix, std::byte* out) {
  const std::size_t panel_bytes =
      packed_bytes(matrix.type, kPackedPanel, static_cast<std::size_t>(matrix.cols));
  auto* data = reinterpret_cast<std::uint8_t*>(out);
  parallel_for(panels_of(static_cast<std::size_t>(matrix.rows)), [&](std::size_t panel) {
    const auto pack = [&]<TensorType kType>() {
      pack_panel<kType>(matrix, panel, data + panel * panel_bytes);
      return true;
    };
    static_cast<void>(visit_packed<bool>(matrix.type, pack));
  });
}

#else

void pack_matrix(const MatrixView& /*matrix*/, std::byte* /*out*/) {}

#endif

}  // namespace thinkey
