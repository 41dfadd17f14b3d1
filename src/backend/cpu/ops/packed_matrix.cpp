#include "backend/cpu/ops/packed_matrix.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "backend/cpu/ops/codebook_blocks.h"
#include "backend/cpu/ops/k_quant_scales.h"
#include "backend/cpu/ops/packed_formats.h"
#include "base/parallel.h"

#if defined(__x86_64__)
#include "backend/cpu/ops/vnni_codebook_formats-inl.h"
#include "backend/cpu/ops/vnni_formats-inl.h"
#endif

namespace thinkey {
namespace {

constexpr std::size_t groups_of(std::size_t cols) noexcept { return (cols + kInt8Group - 1) / kInt8Group; }
constexpr std::size_t panels_of(std::size_t rows) noexcept {
  return (rows + kPackedPanel - 1) / kPackedPanel;
}

}  // namespace

std::size_t packed_bytes(TensorType type, std::size_t rows, std::size_t cols) noexcept {
  std::size_t group = 0;
  visit_tensor_type(type, [&]<TensorType kType>() {
    if constexpr (!is_plain(kType)) group = PackedFormat<kType>::kGroupBytes;
  });
  return panels_of(rows) * groups_of(cols) * group;
}

#if defined(__x86_64__)

namespace {

constexpr std::size_t kBlocksOfGroup = kInt8Group / kInt8Block;

void copy_half(const std::uint8_t* from, std::uint8_t* to) { std::memcpy(to, from, 2); }

// What a super-block's header holds: kSubs scales, as many minima where the type has them.
struct SuperScales {
  std::uint8_t scales[16];
  std::uint8_t minima[16];
  std::uint8_t d[2];
  std::uint8_t dmin[2];
};

template <TensorType kType>
SuperScales read_super_scales(const std::uint8_t* group) {
  SuperScales out{};
  if constexpr (kType == TensorType::Q4_K || kType == TensorType::Q5_K) {
    const SixBitNumbers numbers = unpack_scales_and_minima(group + 4);
    std::memcpy(out.scales, numbers.data(), 8);
    std::memcpy(out.minima, numbers.data() + 2, 8);
    copy_half(group, out.d);
    copy_half(group + 2, out.dmin);
  } else if constexpr (kType == TensorType::Q6_K) {  // 16 signed scales and d at its end
    std::memcpy(out.scales, group + 192, 16);
    copy_half(group + 208, out.d);
  } else if constexpr (kType == TensorType::Q2_K) {
    for (std::size_t s = 0; s < 16; ++s) {
      out.scales[s] = group[s] & 0x0FU;
      out.minima[s] = static_cast<std::uint8_t>(group[s] >> 4U);
    }
    copy_half(group + 80, out.d);
    copy_half(group + 82, out.dmin);
  } else if constexpr (kType == TensorType::Q3_K) {
    const SixBitNumbers numbers = unpack_sixteen_scales(group + 96);
    std::memcpy(out.scales, numbers.data(), 16);
    for (std::uint8_t& scale : out.scales) scale = static_cast<std::uint8_t>(scale - 32);
    copy_half(group + 108, out.d);
  } else if constexpr (kType == TensorType::IQ4_XS) {
    const std::array<std::int8_t, 8> scales = unpack_iq4_scales(group);
    std::memcpy(out.scales, scales.data(), 8);
    copy_half(group, out.d);
  } else {
    CodebookGroup unpacked;
    unpack_codebook<kType>(group, unpacked);
    std::memcpy(out.scales, unpacked.scales, 16);
    std::memcpy(out.d, &unpacked.d, 2);
  }
  return out;
}

// The scales of one row's group into row `r` of the packed one.
template <TensorType kType>
void pack_scales(const std::uint8_t* group, std::size_t r, std::uint8_t* out) {
  using P = PackedFormat<kType>;
  constexpr std::size_t kBlockBytes = vnni::Format<kType>::kBytes / kBlocksOfGroup;
  if constexpr (P::kScale == PackedScale::Exponents) {
    for (std::size_t b = 0; b < kBlocksOfGroup; ++b) out[P::scales_at(b, 0) + r] = group[b * kBlockBytes];
  } else if constexpr (P::kScale == PackedScale::F16) {
    for (std::size_t b = 0; b < kBlocksOfGroup; ++b) {
      for (std::size_t kind = 0; kind < P::kKinds; ++kind) {
        copy_half(group + b * kBlockBytes + 2 * kind, out + P::scales_at(b, kind) + 2 * r);
      }
    }
  } else {
    const SuperScales super = read_super_scales<kType>(group);
    for (std::size_t s = 0; s < P::kSubs; ++s) {
      out[P::scales_at(s, 0) + r] = super.scales[s];
      if constexpr (P::kMinimum) out[P::scales_at(s, 1) + r] = super.minima[s];
    }
    copy_half(super.d, out + P::kSuperAt + 2 * r);
    if constexpr (P::kMinimum) copy_half(super.dmin, out + P::kSuperAt + 2 * kPackedPanel + 2 * r);
  }
}

// Where a table has each of its entries.
template <std::size_t kEntries>
constexpr std::array<std::uint8_t, 256> positions(const std::array<std::uint8_t, kEntries>& table) {
  std::array<std::uint8_t, 256> out{};
  for (std::size_t i = kEntries; i-- > 0;) out[table[i]] = static_cast<std::uint8_t>(i);
  return out;
}

// codes [16 rows][256] as the kernel wants them. `out` is zeros.
template <TensorType kType>
THINKEY_VNNI void pack_codes(const std::uint8_t (*codes)[kInt8Group], std::uint8_t* out) {
  using P = PackedFormat<kType>;
  constexpr std::size_t kLanes = 4 * kPackedPanel;
  constexpr std::size_t kQuadsOfGroup = kInt8Group / 4;
  alignas(64) std::uint8_t quads[kQuadsOfGroup][kLanes];  // four columns of all rows
  for (std::size_t row = 0; row < kPackedPanel; ++row) {
    for (std::size_t q = 0; q < kQuadsOfGroup; ++q) std::memcpy(&quads[q][4 * row], &codes[row][4 * q], 4);
  }
  for (std::size_t q = 0; q < kQuadsOfGroup; ++q) {
    const std::size_t block = q / (kInt8Block / 4);
    const std::size_t side = block % 2;
    const std::size_t quad = q % (kInt8Block / 4);
    const auto shift = static_cast<unsigned>(2 * (side + 2 * (quad % 2)));  // of pairs of bits
    const std::uint8_t* from = quads[q];
    std::uint8_t* pair = out + P::pair_at(block / 2);
    if constexpr (P::kBits == 8) {
      std::memcpy(pair + kLanes * (2 * quad + side), from, kLanes);
    } else if constexpr (P::kBits < 4) {
      std::uint8_t* to = pair + P::bit_pairs_at(quad);
      for (std::size_t i = 0; i < kLanes; ++i) to[i] |= static_cast<std::uint8_t>((from[i] & 3U) << shift);
    } else {
      std::uint8_t* to = pair + P::nibbles_at(quad);
      for (std::size_t i = 0; i < kLanes; ++i) {
        to[i] |= static_cast<std::uint8_t>((from[i] & 0x0FU) << (4 * side));
      }
    }
    if constexpr (P::kMaskBytes != 0) {
      const __mmask64 top =
          _mm512_test_epi8_mask(_mm512_load_si512(from), _mm512_set1_epi8(1 << (P::kBits - 1)));
      std::memcpy(pair + 8 * (2 * quad + side), &top, sizeof(top));
    }
    if constexpr (P::kBits == 6) {
      std::uint8_t* to = pair + P::upper_at(quad);
      for (std::size_t i = 0; i < kLanes; ++i) to[i] |= static_cast<std::uint8_t>((from[i] >> 4U) << shift);
    }
  }
}

template <TensorType kType>
THINKEY_VNNI void unpack_codes(const std::uint8_t* group, std::uint8_t* codes) {
  const vnni::Format<kType> format;
  static_cast<void>(format.factors(group));  // some formats unpack the codes with them
  for (std::size_t k = 0; k < 4; ++k) _mm512_storeu_si512(codes + 64 * k, format.codes(group, k));
  if constexpr (!PackedFormat<kType>::kTable.empty()) {
    static constexpr std::array<std::uint8_t, 256> kPositions = positions(PackedFormat<kType>::kTable);
    for (std::size_t i = 0; i < kInt8Group; ++i) codes[i] = kPositions[codes[i]];
  }
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
      const auto* row = reinterpret_cast<const std::uint8_t*>(matrix.row(first + r));
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
    visit_tensor_type(matrix.type, [&]<TensorType kType>() {
      if constexpr (!is_plain(kType)) pack_panel<kType>(matrix, panel, data + panel * panel_bytes);
    });
  });
}

#else

void pack_matrix(const MatrixView& /*matrix*/, std::byte* /*out*/) {}

#endif

}  // namespace thinkey
