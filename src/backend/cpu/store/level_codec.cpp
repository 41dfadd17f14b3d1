#include "backend/cpu/store/level_codec.h"

#include <cstdint>

#include "backend/cpu/store/levels.h"

namespace thinkey {
namespace {

// Calls body(byte, shift in the byte, shift in the code, bits) for each part of the code of element `element`
// of quad `quad` of a row of 32 quads that begins at byte `row`.
template <typename Body>
void visit_parts(ElementFormat format, std::size_t row, std::size_t quad, std::size_t element,
                 const Body& body) {
  std::size_t left = element_bits(format);
  std::size_t done = 0;
  for (const std::size_t bits : {std::size_t{8}, std::size_t{4}, std::size_t{2}, std::size_t{1}}) {
    if (left < bits) continue;
    const std::size_t quads = kUnit * bits / 8;  // in a plane
    body(row + 4 * (quad % quads) + element, quad / quads * bits, done, bits);
    row += 4 * quads;
    left -= bits;
    done += bits;
  }
}

// The block is clear: codes are or-ed in.
void put(std::byte* block, ElementFormat format, std::size_t row, std::size_t quad, std::size_t element,
         std::uint8_t code) {
  visit_parts(format, row, quad, element,
              [&](std::size_t byte, std::size_t shift, std::size_t from, std::size_t bits) {
                const unsigned part = (static_cast<unsigned>(code) >> from) & ((1U << bits) - 1U);
                block[byte] |= static_cast<std::byte>(part << shift);
              });
}
std::uint8_t get(const std::byte* block, ElementFormat format, std::size_t row, std::size_t quad,
                 std::size_t element) {
  unsigned code = 0;
  visit_parts(format, row, quad, element,
              [&](std::size_t byte, std::size_t shift, std::size_t from, std::size_t bits) {
                code |= ((static_cast<unsigned>(block[byte]) >> shift) & ((1U << bits) - 1U)) << from;
              });
  return static_cast<std::uint8_t>(code);
}

std::size_t key_row(const KeyRun& run, std::size_t channel) { return run.rows + channel / 4 * run.row; }
std::size_t value_row(const BlockLayout& layout, std::size_t token, std::size_t channel) {
  const std::size_t row = kUnit * 4 * element_bits(layout.value_format) / 8;
  return layout.values_at(channel / kUnit * kUnit) + token / 4 * row;
}

}  // namespace

void encode_level_keys(const KeyRun& run, const StagedBlock& staged, std::byte* block) {
  const LevelBook& book = level_book(run.format);
  const float* keys = staged.keys.data() + run.first * kBlockTokens;
  std::uint8_t codes[kMaxChannels];
  float scales[kBlockTokens];
  for (std::size_t t = 0; t < staged.tokens; ++t) {
    scales[t] = encode_levels(book, run.channels, keys + t, kBlockTokens, kKeyFairness, codes);
    for (std::size_t c = 0; c < run.channels; ++c)
      put(block, run.format, key_row(run, c), t, c % 4, codes[c]);
  }
  store_level_scales({scales, staged.tokens}, block + run.scales);
}

void decode_level_keys(const KeyRun& run, const std::byte* block, StagedBlock& staged) {
  const LevelBook& book = level_book(run.format);
  float* keys = staged.keys.data() + run.first * kBlockTokens;
  for (std::size_t t = 0; t < staged.tokens; ++t) {
    const float scale = load_level_scale(block + run.scales, t);
    for (std::size_t c = 0; c < run.channels; ++c) {
      const std::uint8_t code = get(block, run.format, key_row(run, c), t, c % 4);
      keys[c * kBlockTokens + t] = scale * static_cast<float>(book.levels[code]);
    }
  }
}

void encode_level_values(const BlockLayout& layout, const StagedBlock& staged, std::byte* block) {
  const ElementFormat format = layout.value_format;
  const LevelBook& book = level_book(format);
  std::uint8_t codes[kMaxChannels];
  float scales[kBlockTokens];
  for (std::size_t t = 0; t < staged.tokens; ++t) {
    const float* value = staged.values.data() + t * layout.value_channels;
    scales[t] = encode_levels(book, layout.value_channels, value, 1, kValueFairness, codes);
    for (std::size_t c = 0; c < layout.value_channels; ++c) {
      put(block, format, value_row(layout, t, c), c % kUnit, t % 4, codes[c]);
    }
  }
  store_level_scales({scales, staged.tokens}, block + layout.value_scales);
}

void decode_level_values(const BlockLayout& layout, const std::byte* block, StagedBlock& staged) {
  const ElementFormat format = layout.value_format;
  const LevelBook& book = level_book(format);
  for (std::size_t t = 0; t < staged.tokens; ++t) {
    const float scale = load_level_scale(block + layout.value_scales, t);
    for (std::size_t c = 0; c < layout.value_channels; ++c) {
      const std::uint8_t code = get(block, format, value_row(layout, t, c), c % kUnit, t % 4);
      staged.values[t * layout.value_channels + c] = scale * static_cast<float>(book.levels[code]);
    }
  }
}

}  // namespace thinkey
