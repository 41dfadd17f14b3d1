#include "backend/cpu/store/level_codec.h"

#include <algorithm>
#include <cstdint>

#include "backend/cpu/store/levels.h"

namespace thinkey {
namespace {

constexpr std::size_t kRowCodes = 4 * kUnit;

// Calls plane(byte, bytes, bits, from) for each plane of a row of 32 quads of codes: of the `bits` bits of
// each code from bit `from` on, those of code i lie in byte `byte` + i % bytes, i / bytes * bits bits up.
template <typename Plane>
void visit_planes(ElementFormat format, const Plane& plane) {
  std::size_t left = element_bits(format);
  std::size_t from = 0;
  std::size_t byte = 0;
  for (const std::size_t bits : {std::size_t{8}, std::size_t{4}, std::size_t{2}, std::size_t{1}}) {
    if (left < bits) continue;
    const std::size_t bytes = kRowCodes * bits / 8;
    plane(byte, bytes, bits, from);
    byte += bytes;
    from += bits;
    left -= bits;
  }
}

void pack_row(ElementFormat format, const std::uint8_t* codes, std::byte* row) {
  visit_planes(format, [&](std::size_t byte, std::size_t bytes, std::size_t bits, std::size_t from) {
    auto* to = reinterpret_cast<std::uint8_t*>(row) + byte;
    const unsigned mask = (1U << bits) - 1U;
    for (std::size_t part = 0; part < 8 / bits; ++part) {
      const std::uint8_t* of = codes + part * bytes;
      const auto up = static_cast<unsigned>(part * bits);
      for (std::size_t i = 0; i < bytes; ++i) {
        const unsigned moved = ((static_cast<unsigned>(of[i]) >> from) & mask) << up;
        to[i] = static_cast<std::uint8_t>(part == 0 ? moved : to[i] | moved);
      }
    }
  });
}

void unpack_row(ElementFormat format, const std::byte* row, std::uint8_t* codes) {
  std::fill_n(codes, kRowCodes, std::uint8_t{0});
  visit_planes(format, [&](std::size_t byte, std::size_t bytes, std::size_t bits, std::size_t from) {
    const auto* stored = reinterpret_cast<const std::uint8_t*>(row) + byte;
    const unsigned mask = (1U << bits) - 1U;
    for (std::size_t part = 0; part < 8 / bits; ++part) {
      std::uint8_t* of = codes + part * bytes;
      const auto up = static_cast<unsigned>(part * bits);
      for (std::size_t i = 0; i < bytes; ++i) {
        of[i] = static_cast<std::uint8_t>(of[i] | ((static_cast<unsigned>(stored[i]) >> up) & mask) << from);
      }
    }
  });
}

std::size_t value_row(const BlockLayout& layout, std::size_t token, std::size_t channel) {
  const std::size_t row = kUnit * 4 * element_bits(layout.value_format) / 8;
  return layout.values_at(channel / kUnit * kUnit) + token / 4 * row;
}

}  // namespace

void encode_level_keys(const KeyRun& run, const StagedBlock& staged, std::byte* block) {
  const LevelBook& book = level_book(run.format);
  const float* keys = staged.keys.data() + run.first * kBlockTokens;
  // By rows: [channels / 4][32 tokens][4].
  std::uint8_t rows[kMaxChannels * kBlockTokens];
  const std::size_t count = (run.channels + 3) / 4;
  std::fill_n(rows, count * kRowCodes, std::uint8_t{0});
  float key[kMaxChannels];
  std::uint8_t codes[kMaxChannels];
  float scales[kBlockTokens];
  for (std::size_t t = 0; t < staged.tokens; ++t) {
    for (std::size_t c = 0; c < run.channels; ++c) key[c] = keys[c * kBlockTokens + t];
    scales[t] = encode_levels(book, {key, run.channels}, kKeyFairness, codes);
    for (std::size_t c = 0; c < run.channels; ++c) rows[c / 4 * kRowCodes + 4 * t + c % 4] = codes[c];
  }
  for (std::size_t r = 0; r < count; ++r)
    pack_row(run.format, rows + r * kRowCodes, block + run.rows + r * run.row);
  store_level_scales({scales, staged.tokens}, block + run.scales);
}

void decode_level_keys(const KeyRun& run, const std::byte* block, StagedBlock& staged) {
  const LevelBook& book = level_book(run.format);
  float* keys = staged.keys.data() + run.first * kBlockTokens;
  float scales[kBlockTokens];
  for (std::size_t t = 0; t < staged.tokens; ++t) scales[t] = load_level_scale(block + run.scales, t);
  std::uint8_t codes[kRowCodes];
  for (std::size_t c = 0; c < run.channels; ++c) {
    if (c % 4 == 0) unpack_row(run.format, block + run.rows + c / 4 * run.row, codes);
    for (std::size_t t = 0; t < staged.tokens; ++t) {
      keys[c * kBlockTokens + t] = scales[t] * static_cast<float>(book.levels[codes[4 * t + c % 4]]);
    }
  }
}

void encode_level_values(const BlockLayout& layout, const StagedBlock& staged, std::byte* block) {
  const ElementFormat format = layout.value_format;
  const LevelBook& book = level_book(format);
  const std::size_t channels = layout.value_channels;
  std::uint8_t codes[4][kMaxChannels];
  float scales[kBlockTokens];
  for (std::size_t t = 0; t < staged.tokens; t += 4) {
    const std::size_t tokens = std::min<std::size_t>(4, staged.tokens - t);
    for (std::size_t i = 0; i < tokens; ++i) {
      scales[t + i] = encode_levels(book, {staged.values.data() + (t + i) * channels, channels},
                                    kValueFairness, codes[i]);
    }
    for (std::size_t first = 0; first < channels; first += kUnit) {
      std::uint8_t row[kRowCodes] = {};
      const std::size_t width = std::min(kUnit, channels - first);
      for (std::size_t i = 0; i < tokens; ++i) {
        for (std::size_t c = 0; c < width; ++c) row[4 * c + i] = codes[i][first + c];
      }
      pack_row(format, row, block + value_row(layout, t, first));
    }
  }
  store_level_scales({scales, staged.tokens}, block + layout.value_scales);
}

void decode_level_values(const BlockLayout& layout, const std::byte* block, StagedBlock& staged) {
  const ElementFormat format = layout.value_format;
  const LevelBook& book = level_book(format);
  const std::size_t channels = layout.value_channels;
  float scales[kBlockTokens];
  for (std::size_t t = 0; t < staged.tokens; ++t)
    scales[t] = load_level_scale(block + layout.value_scales, t);
  for (std::size_t t = 0; t < staged.tokens; t += 4) {
    const std::size_t tokens = std::min<std::size_t>(4, staged.tokens - t);
    for (std::size_t first = 0; first < channels; first += kUnit) {
      std::uint8_t row[kRowCodes];
      unpack_row(format, block + value_row(layout, t, first), row);
      const std::size_t width = std::min(kUnit, channels - first);
      for (std::size_t i = 0; i < tokens; ++i) {
        float* value = staged.values.data() + (t + i) * channels + first;
        for (std::size_t c = 0; c < width; ++c) {
          value[c] = scales[t + i] * static_cast<float>(book.levels[row[4 * c + i]]);
        }
      }
    }
  }
}

}  // namespace thinkey
