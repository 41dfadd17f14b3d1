// Packed rows of every file type with their reference dequantization (tools/make_quant_fixtures.py).
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <cctype>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "base/matrix_view.h"

namespace thinkey::test {

inline std::vector<TensorType> all_types(bool plain_too = true) {
  std::vector<TensorType> types;
  for (std::size_t i = 0; i < kTensorTypeCount; ++i) {
    const auto type = static_cast<TensorType>(i);
    if (plain_too || !is_plain(type)) types.push_back(type);
  }
  return types;
}

struct QuantFixture {
  TensorType type;
  std::size_t rows, cols;
  std::vector<std::byte> packed;
  std::vector<float> expected;  // [rows, cols]

  [[nodiscard]] MatrixView view() const {
    return {type, static_cast<std::size_t>(rows), static_cast<std::size_t>(cols), packed.data()};
  }
};

inline QuantFixture load_quant_fixture(TensorType type) {
  std::string name(traits(type).name);
  for (char& c : name) c = static_cast<char>(std::tolower(c));
  const std::string path = std::string(THINKEY_FIXTURES) + "/ops/" + name + ".bin";
  std::ifstream in(path, std::ios::binary);
  EXPECT_TRUE(in.good()) << path;
  std::array<char, 8> magic{};
  std::array<std::uint32_t, 4> header{};
  in.read(magic.data(), magic.size());
  in.read(reinterpret_cast<char*>(header.data()), sizeof(header));
  EXPECT_EQ(std::string(magic.data(), magic.size()), "TKQUANT1");
  QuantFixture f{type, header[0], header[1], {}, {}};
  EXPECT_EQ(header[2], row_bytes(type, f.cols));
  f.packed.resize(f.rows * header[2]);
  f.expected.resize(f.rows * f.cols);
  in.read(reinterpret_cast<char*>(f.packed.data()), static_cast<std::streamsize>(f.packed.size()));
  in.read(reinterpret_cast<char*>(f.expected.data()), static_cast<std::streamsize>(4 * f.expected.size()));
  EXPECT_TRUE(in.good() && in.peek() == std::ifstream::traits_type::eof()) << path;
  return f;
}

}  // namespace thinkey::test
