// Rows of levels (TurboQuant) against queries and weights. A code is looked up in the code book, sixteen or
// more at once, and the levels are multiplied as integers; a token's scale comes after the sum over channels
// (keys) or goes into its weight (values). Queries are rounded once for all blocks. Included once per Highway
// target.

#if defined(THINKEY_BLOCK_LEVELS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef THINKEY_BLOCK_LEVELS_INL_H_
#undef THINKEY_BLOCK_LEVELS_INL_H_
#else
#define THINKEY_BLOCK_LEVELS_INL_H_
#endif

#include <algorithm>
#include <cmath>
#include <limits>

#include "backend/cpu/store/block.h"
#include "backend/cpu/store/block_codes-inl.h"
#include "backend/cpu/store/block_levels_vnni.h"
#include "backend/cpu/store/levels.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace thinkey {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// The run of a block's keys that holds levels; null: none does.
HWY_INLINE const KeyRun* level_run(const BlockLayout& layout) {
  for (std::size_t f = static_cast<std::size_t>(ElementFormat::L8); f < kElementFormats; ++f) {
    if (layout.key_runs[f].channels > 0) return &layout.key_runs[f];
  }
  return nullptr;
}

// Queries of the run of levels, rounded.
template <std::size_t kRows>
struct LevelQueries {
  // On CPUs that multiply quads of bytes: LevelQueryBytes. Elsewhere in 16 bits, [quads][kRows][4] in the
  // order of round_quad(): query = rounded * inverse.
  HWY_ALIGN std::int16_t rounded[(kMaxChannels + 16) * kRows];
  float inverse[kRows];
  float share[kRows];  // -128 times the sum of the rounded queries, times inverse

  // Query rows [quads][kRows][4].
  HWY_INLINE LevelQueries(const BlockLayout& layout, const float* HWY_RESTRICT q) {
    const KeyRun* run = level_run(layout);
    if (run == nullptr || kRows == 3) return;
    q += run->query * kRows;
    const std::size_t quads = run->query_numbers() / 4;
    const bool halves = levels_in_halves(run->format);
    const float most = !multiplies_quads() ? 16383.0F : halves ? 16256.0F : 127.0F;
    auto* bytes = reinterpret_cast<std::int8_t*>(rounded);
    for (std::size_t r = 0; r < kRows; ++r) {
      float largest = 0.0F;
      for (std::size_t i = 0; i < 4 * quads; ++i) {
        largest = std::max(largest, std::abs(q[i / 4 * 4 * kRows + 4 * r + i % 4]));
      }
      inverse[r] = largest / most;
      const float factor = inverse[r] > 1e-37F ? 1.0F / inverse[r] : 0.0F;
      std::int64_t sum = 0;
      for (std::size_t quad = 0; quad < quads; ++quad) {
        const float* x = q + (quad * kRows + r) * 4;
        if (!multiplies_quads()) {
          std::int16_t* to = rounded + (quad * kRows + r) * 4;
          round_quad(x, factor, to);
          for (std::size_t i = 0; i < 4; ++i) sum += to[i];
          continue;
        }
        std::int8_t* to = bytes + (quad * kRows + r) * 4;
        for (std::size_t i = 0; i < 4; ++i) {
          const auto whole = static_cast<std::int32_t>(std::nearbyint(x[i] * factor));
          sum += whole;
          // In halves: 128 times the upper one, which is signed too, and the lower one from 0 to 127.
          to[i] = static_cast<std::int8_t>(halves ? whole >> 7 : whole);
          if (halves) to[kRows * 4 * quads + i] = static_cast<std::int8_t>(whole & 127);
        }
      }
      share[r] = -128.0F * static_cast<float>(sum);
      if (!multiplies_quads()) share[r] *= inverse[r];
    }
  }
};

// Scales of as many tokens as a vector has lanes, from token t on.
HWY_INLINE FloatVector load_level_scales(FloatTag d, const std::byte* scales, std::size_t t) {
  const hn::RebindToSigned<FloatTag> d32;
  const hn::Rebind<std::uint8_t, FloatTag> d8;
  const auto exponent = static_cast<std::int8_t>(scales[kBlockTokens]);
  if (exponent == kNoExponent) return hn::Set(d, std::numeric_limits<float>::quiet_NaN());
  const auto codes = hn::PromoteTo(d32, hn::LoadU(d8, reinterpret_cast<const std::uint8_t*>(scales) + t));
  const auto bits =
      hn::Add(hn::ShiftLeft<23 - kLevelMantissaBits>(codes), hn::Set(d32, level_scale_base(exponent)));
  return hn::BitCast(d, hn::IfThenZeroElse(hn::Eq(codes, hn::Zero(d32)), bits));
}

// Quads number i, i + 1, ... of 32 in a row of levels, a byte per level, counted from -128 on.
template <ElementFormat kFormat>
struct RowOfLevels {
  const std::byte* row;
  const std::uint8_t* book;  // levels + 128 by code, [32]

  // Planes of one bit hold four quads each, which may be fewer than a vector's.
  static HWY_INLINE hn::Vec<CodeTag> load_bits(CodeTag d, const std::byte* from, std::size_t i) {
    const hn::RebindToUnsigned<CodeTag> du;
    HWY_ALIGN std::uint32_t quads[8];
    std::uint32_t packed[4];
    std::memcpy(packed, from, sizeof(packed));
    for (std::size_t lane = 0; lane < hn::Lanes(d); ++lane) {
      quads[lane] = (packed[(i + lane) % 4] >> ((i + lane) / 4)) & 0x01010101U;
    }
    return hn::BitCast(d, hn::Load(du, quads));
  }

  HWY_INLINE hn::Vec<CodeTag> load(CodeTag d, std::size_t i) const {
    const hn::RebindToUnsigned<CodeTag> du;
    if constexpr (kFormat == ElementFormat::L8) {
      return load_integers(d, row + 4 * i);
    } else if constexpr (kFormat == ElementFormat::L6) {
      const auto low = hn::BitCast(du, RowOfQuads<ElementFormat::Q4>{row}.load(d, i));
      const auto high = hn::BitCast(du, RowOfQuads<ElementFormat::Q2>{row + 64}.load(d, i));
      const auto code = hn::Or(hn::ShiftLeft<2>(low), hn::ShiftLeft<6>(high));
      return hn::BitCast(d, hn::Or(code, hn::Set(du, 0x02020202U)));
    } else {
      return look_up(d, codes(d, i));
    }
  }

 private:
  HWY_INLINE hn::Vec<CodeTag> codes(CodeTag d, std::size_t i) const {
    if constexpr (kFormat == ElementFormat::L5) {
      const auto low = RowOfQuads<ElementFormat::Q4>{row}.load(d, i);
      return hn::Or(low, hn::ShiftLeft<4>(load_bits(d, row + 64, i)));
    } else if constexpr (kFormat == ElementFormat::L4) {
      return RowOfQuads<ElementFormat::Q4>{row}.load(d, i);
    } else if constexpr (kFormat == ElementFormat::L3) {
      const auto low = RowOfQuads<ElementFormat::Q2>{row}.load(d, i);
      return hn::Or(low, hn::ShiftLeft<2>(load_bits(d, row + 32, i)));
    } else if constexpr (kFormat == ElementFormat::L2) {
      return RowOfQuads<ElementFormat::Q2>{row}.load(d, i);
    } else {
      return load_bits(d, row, i);
    }
  }

  HWY_INLINE hn::Vec<CodeTag> look_up(CodeTag d, hn::Vec<CodeTag> codes) const {
#if HWY_TARGET == HWY_SCALAR
    std::uint32_t from = 0;
    std::uint32_t to = 0;
    from = static_cast<std::uint32_t>(hn::GetLane(codes));
    for (unsigned shift = 0; shift < 32; shift += 8) {
      to |= static_cast<std::uint32_t>(book[(from >> shift) & 255U]) << shift;
    }
    return hn::Set(d, static_cast<std::int32_t>(to));
#else
    const hn::Repartition<std::uint8_t, CodeTag> d8;
    const auto bytes = hn::BitCast(d8, codes);
    const auto low =
        hn::TableLookupBytes(hn::LoadDup128(d8, book), hn::And(bytes, hn::Set(d8, std::uint8_t{15})));
    if constexpr (kFormat != ElementFormat::L5) return hn::BitCast(d, low);
    const auto high =
        hn::TableLookupBytes(hn::LoadDup128(d8, book + 16), hn::And(bytes, hn::Set(d8, std::uint8_t{15})));
    return hn::BitCast(d, hn::IfThenElse(hn::Gt(bytes, hn::Set(d8, std::uint8_t{15})), high, low));
#endif
  }
};

// Calls body.operator()<format>() for a format of levels.
template <typename Body>
HWY_INLINE void with_levels(ElementFormat format, const Body& body) {
  switch (format) {
    case ElementFormat::L8:
      return body.template operator()<ElementFormat::L8>();
    case ElementFormat::L6:
      return body.template operator()<ElementFormat::L6>();
    case ElementFormat::L5:
      return body.template operator()<ElementFormat::L5>();
    case ElementFormat::L4:
      return body.template operator()<ElementFormat::L4>();
    case ElementFormat::L3:
      return body.template operator()<ElementFormat::L3>();
    case ElementFormat::L2:
      return body.template operator()<ElementFormat::L2>();
    default:
      return body.template operator()<ElementFormat::L1>();
  }
}

struct ByteBook {
  HWY_ALIGN std::uint8_t levels[32];
  explicit ByteBook(ElementFormat format) {
    for (std::size_t i = 0; i < 32; ++i)
      levels[i] = static_cast<std::uint8_t>(level_book(format).levels[i] + 128);
  }
};

template <ElementFormat kFormat, std::size_t kRows>
HWY_NOINLINE void score_levels_as(const KeyRun& run, const std::byte* block,
                                  const LevelQueries<kRows>& queries, const float* start,
                                  float* HWY_RESTRICT scores) {
  static const ByteBook book(kFormat);
  const hn::RebindToFloat<CodeTag> d;
  const std::size_t lanes = hn::Lanes(d);
  HWY_ALIGN float scale[kBlockTokens];
  const FloatTag df;
  for (std::size_t t = 0; t < kBlockTokens; t += hn::Lanes(df)) {
    hn::Store(load_level_scales(df, block + run.scales, t), df, scale + t);
  }
  const std::size_t quads = (run.channels + 3) / 4;
  for (std::size_t t = 0; t < kBlockTokens; t += 2 * lanes) {
    QuadSums<kRows> sums;
    const std::byte* row = block + run.rows;
    for (std::size_t quad = 0; quad < quads; ++quad, row += run.row) {
      sums.add(RowOfLevels<kFormat>{row, book.levels}, t, queries.rounded + 4 * kRows * quad);
    }
    for (std::size_t r = 0; r < kRows; ++r) {
      const auto store = [&](const PairSums<CodeTag>& sum, std::size_t at) HWY_ATTR {
        const auto product =
            hn::MulAdd(sum.total(), hn::Set(d, queries.inverse[r]), hn::Set(d, queries.share[r]));
        hn::StoreU(hn::MulAdd(product, hn::Load(d, scale + at), hn::Set(d, start[r])), d,
                   scores + r * kBlockTokens + at);
      };
      store(sums.low[r], t);
      store(sums.high[r], t + lanes);
    }
  }
}

// scores[r][0..31] = start[r] + q[r] . keys of a block.
template <std::size_t kRows>
HWY_INLINE void score_levels(const KeyRun& run, const std::byte* block, const LevelQueries<kRows>& queries,
                             const float* start, float* HWY_RESTRICT scores) {
  if (multiplies_quads()) {
    const auto* rounded = reinterpret_cast<const std::int32_t*>(queries.rounded);
    score_levels_vnni(kRows, run, block,
                      {{rounded, rounded + run.query_numbers() / 4 * kRows}, queries.inverse, queries.share},
                      start, scores);
    return;
  }
  with_levels(run.format, [&]<ElementFormat kFormat>() {
    score_levels_as<kFormat, kRows>(run, block, queries, start, scores);
  });
}

template <ElementFormat kFormat, std::size_t kRows>
HWY_NOINLINE void weigh_levels_as(const BlockLayout& layout, const std::byte* block,
                                  const float* HWY_RESTRICT weights, const float* HWY_RESTRICT factor,
                                  std::size_t stride, float* HWY_RESTRICT out) {
  static const ByteBook book(kFormat);
  constexpr float kMost = 32767.0F;  // times 255, of 32 tokens: within 32 bits
  HWY_ALIGN std::int16_t rounded[kBlockTokens * kRows];
  float inverse[kRows];
  float share[kRows];
  const FloatTag df;
  for (std::size_t r = 0; r < kRows; ++r) {
    HWY_ALIGN float folded[kBlockTokens];
    FloatVector largest = hn::Zero(df);
    for (std::size_t t = 0; t < kBlockTokens; t += hn::Lanes(df)) {
      const FloatVector w = hn::Mul(hn::LoadU(df, weights + r * kBlockTokens + t),
                                    load_level_scales(df, block + layout.value_scales, t));
      hn::Store(w, df, folded + t);
      largest = hn::Max(largest, w);
    }
    inverse[r] = hn::GetLane(hn::MaxOfLanes(df, largest)) / kMost;
    const float to_integers = inverse[r] > 1e-37F ? 1.0F / inverse[r] : 0.0F;
    std::int32_t sum = 0;
    for (std::size_t t = 0; t < kBlockTokens; t += 4) {
      std::int16_t* to = rounded + t * kRows + 4 * r;
      round_quad(folded + t, to_integers, to);
      for (std::size_t i = 0; i < 4; ++i) sum += to[i];
    }
    share[r] = -128.0F * static_cast<float>(sum) * inverse[r];
  }
  constexpr std::size_t kRowBytes = kUnit * 4 * element_bits(kFormat) / 8;
  const hn::RebindToFloat<CodeTag> d;
  const std::size_t lanes = hn::Lanes(d);
  for (std::size_t first = 0; first < layout.value_channels; first += kUnit) {
    for (std::size_t c = 0; c < kUnit; c += 2 * lanes) {
      QuadSums<kRows> sums;
      const std::byte* row = block + layout.values_at(first);
      for (std::size_t quad = 0; quad < kBlockTokens / 4; ++quad, row += kRowBytes) {
        sums.add(RowOfLevels<kFormat>{row, book.levels}, c, rounded + 4 * kRows * quad);
      }
      for (std::size_t r = 0; r < kRows; ++r) {
        const auto add = [&](const PairSums<CodeTag>& sum, float* at) HWY_ATTR {
          const auto before = hn::MulAdd(hn::Set(d, factor[r]), hn::LoadU(d, at), hn::Set(d, share[r]));
          hn::StoreU(hn::MulAdd(sum.total(), hn::Set(d, inverse[r]), before), d, at);
        };
        float* to = out + r * stride + first + c;
        add(sums.low[r], to);
        add(sums.high[r], to + lanes);
      }
    }
  }
}

// out[r] = out[r] * factor[r] + weights[r] . values of a block. Places without a token have the scale 0.
template <std::size_t kRows>
HWY_INLINE void weigh_levels(const BlockLayout& layout, const std::byte* block,
                             const float* HWY_RESTRICT weights, const float* HWY_RESTRICT factor,
                             std::size_t stride, float* HWY_RESTRICT out) {
  if (multiplies_quads()) {
    weigh_levels_vnni(kRows, layout, block, weights, factor, stride, out);
    return;
  }
  with_levels(layout.value_format, [&]<ElementFormat kFormat>() {
    weigh_levels_as<kFormat, kRows>(layout, block, weights, factor, stride, out);
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace thinkey
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
