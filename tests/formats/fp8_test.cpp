#include "formats/fp8.h"

#include <cmath>
#include <cstring>

#include "backend/cpu/ops/dequantize.h"
#include "formats/format_test_util.h"
#include "formats/hf_quantization.h"
#include "formats/mxfp4.h"

namespace thinkey {
namespace {

using namespace thinkey::testing;  // NOLINT(google-build-using-namespace)

const SafetensorsFile& reference() {
  static const SafetensorsFile file(fixture("fp8.safetensors"));
  return file;
}

void expect_reference(const std::string& name, const Fp8Config& config) {
  SCOPED_TRACE(name);
  const SafetensorsTensor& weight = reference().at(name + ".weight");
  const auto find = [](std::string_view wanted) { return reference().find(wanted); };
  const AlignedBuffer<bf16_bits> out = expand_fp8(weight, fp8_scale(weight, find), config);
  const SafetensorsTensor& expected = reference().at(name + ".expected");
  ASSERT_EQ(out.bytes(), expected.bytes.size());
  EXPECT_EQ(std::memcmp(out.data(), expected.bytes.data(), out.bytes()), 0);
}

TEST(Fp8, ExpandsToTheBitsThatTransformersGives) {
  expect_reference("block", {.block = {{32, 32}}});
  expect_reference("block16", {.block = {{32, 32}}});
  expect_reference("tensor", {});
  expect_reference("tensor", {.block = {{128, 128}}});
  expect_reference("row", {});
}

TEST(Fp8, CodesAreThoseOfTheFormat) {
  EXPECT_EQ(f32_from_e4m3(0x00), 0.0F);
  EXPECT_EQ(f32_from_e4m3(0x01), 0.001953125F);  // the smallest
  EXPECT_EQ(f32_from_e4m3(0x38), 1.0F);
  EXPECT_EQ(f32_from_e4m3(0x7E), 448.0F);  // the largest
  EXPECT_EQ(f32_from_e4m3(0xC1), -2.25F);
  EXPECT_TRUE(std::isnan(f32_from_e4m3(0x7F)));
  EXPECT_TRUE(std::isnan(f32_from_e4m3(0xFF)));
}

SafetensorsTensor tensor(const std::string& name, SafetensorsType type, std::vector<std::int64_t> shape,
                         const std::vector<std::byte>& bytes) {
  return {.name = name, .type = type, .shape = std::move(shape), .bytes = bytes};
}

// Blocks of 2 x 3 over 3 x 4: the last ones are smaller. Scales as exponents.
TEST(Fp8, LastBlocksMayBeSmaller) {
  const std::vector<std::byte> ones(12, std::byte{0x38});
  const std::vector<std::byte> exponents{std::byte{127}, std::byte{128}, std::byte{129}, std::byte{130}};
  const auto out =
      expand_fp8(tensor("w", SafetensorsType::F8_E4M3, {3, 4}, ones),
                 tensor("w_scale_inv", SafetensorsType::F8_E8M0, {2, 2}, exponents), {.block = {{2, 3}}});
  const std::vector<float> expected{1, 1, 1, 2, 1, 1, 1, 2, 4, 4, 4, 8};
  for (std::size_t i = 0; i < 12; ++i) EXPECT_EQ(f32_from_bf16(out[i]), expected[i]) << i;
}

TEST(Fp8, RefusesScalesThatDoNotFit) {
  const std::vector<std::byte> bytes(64, std::byte{0x38});
  const auto weight = tensor("a.weight", SafetensorsType::F8_E4M3, {4, 16}, bytes);
  const auto refuses = [&](std::string_view part, const SafetensorsTensor& w, const SafetensorsTensor& s,
                           const Fp8Config& config) {
    try {
      (void)expand_fp8(w, s, config);
      ADD_FAILURE() << "no error; wanted: " << part;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    }
  };
  const std::span<const std::byte> all(bytes);
  const auto scale = [&](std::vector<std::int64_t> shape) {
    std::int64_t count = 1;
    for (const std::int64_t n : shape) count *= n;
    return SafetensorsTensor{"a.weight_scale_inv", SafetensorsType::F32, std::move(shape),
                             all.first(static_cast<std::size_t>(4 * count))};
  };
  refuses("does not fit", weight, scale({2, 2}), {.block = {{4, 4}}});
  refuses("does not fit", weight, scale({4, 1}), {.block = {{4, 4}}});
  refuses("does not fit", weight, scale({2, 1}), {});
  refuses("does not fit", weight, scale({1, 1, 1}), {});
  refuses("a scale is F32", weight, tensor("s", SafetensorsType::U8, {}, {std::byte{1}}), {});
  refuses("is not a matrix", tensor("a", SafetensorsType::F8_E4M3, {64}, bytes), scale({1}), {});
  refuses("F8_E5M2", tensor("a", SafetensorsType::F8_E5M2, {4, 16}, bytes), scale({1}), {});
  const std::vector<std::byte> infinite{std::byte{0}, std::byte{0}, std::byte{0x80}, std::byte{0x7F}};
  refuses("no scale", weight, tensor("s", SafetensorsType::F32, {1}, infinite), {});
  EXPECT_THROW((void)fp8_scale(weight, [](std::string_view) { return nullptr; }), Error);
}

HfQuantization read(const std::string& text) {
  static Json json;
  json = parse_json("{\"quantization_config\": " + text + "}", "/c.json", "file");
  return read_hf_quantization(JsonView(json, "/c.json"));
}

TEST(HfQuantization, OfQwenMinistralAndCompressedTensors) {
  const auto qwen = read(R"({"activation_scheme": "dynamic", "fmt": "e4m3", "quant_method": "fp8",
                             "weight_block_size": [128, 128]})");
  EXPECT_EQ(qwen.fp8->block, (std::array<std::int64_t, 2>{128, 128}));
  const auto ministral = read(R"({"activation_scheme": "static", "dequantize": false, "quant_method": "fp8",
      "modules_to_not_convert": ["model.vision_tower", "lm_head"], "weight_block_size": null})");
  EXPECT_FALSE(ministral.fp8->block.has_value());
  const auto compressed = read(R"({"quant_method": "compressed-tensors", "format": "float-quantized",
      "config_groups": {"group_0": {"targets": ["Linear"], "weights": {"num_bits": 8, "type": "float",
      "symmetric": true, "strategy": "channel", "dynamic": false}, "input_activations": {"num_bits": 8}}},
      "ignore": ["lm_head"], "kv_cache_scheme": null, "quantization_status": "compressed"})");
  EXPECT_FALSE(compressed.fp8->block.has_value());
  const Json none = Json::object();
  EXPECT_FALSE(read_hf_quantization(JsonView(none, "/c.json")).fp8);
  EXPECT_TRUE(read(R"({"quant_method": "mxfp4", "modules_to_not_convert": ["lm_head"]})").mxfp4);
}

TEST(HfQuantization, RefusesByName) {
  const auto refuses = [](std::string_view part, const std::string& text) {
    expect_data_error("/c.json", part, [&] { (void)read(text); });
  };
  refuses("quant_method \"gptq\"", R"({"quant_method": "gptq"})");
  refuses("quant_method \"unknown\"", "{}");
  refuses("quantization_config.fmt \"e5m2\"", R"({"quant_method": "fp8", "fmt": "e5m2"})");
  refuses("expert_dtype", R"({"quant_method": "fp8", "expert_dtype": "fp4"})");
  refuses("scale_fmt", R"({"quant_method": "fp8", "scale_fmt": "x"})");
  refuses("activation_scheme", R"({"quant_method": "fp8", "activation_scheme": "x"})");
  refuses("weight_block_size is not a pair", R"({"quant_method": "fp8", "weight_block_size": [128]})");
  refuses("weight_block_size is not a pair", R"({"quant_method": "fp8", "weight_block_size": [0, 1]})");
  refuses("quantization_config.surprise", R"({"quant_method": "fp8", "surprise": 1})");
  const auto group = [](const std::string& weights) {
    return R"({"quant_method": "compressed-tensors", "format": "float-quantized", "config_groups": {"g": {"weights": )" +
           weights + "}}}";
  };
  refuses("num_bits", group(R"({"num_bits": 4})"));
  refuses("symmetric", group(R"({"symmetric": false})"));
  refuses("type", group(R"({"type": "int"})"));
  refuses("strategy", group(R"({"strategy": "group"})"));
  refuses("block_structure is missing", group(R"({"strategy": "block"})"));
  refuses("config_groups", R"({"quant_method": "compressed-tensors"})");
  refuses("kv_cache_scheme", R"({"quant_method": "compressed-tensors", "kv_cache_scheme": {"num_bits": 8}})");
  refuses("format", R"({"quant_method": "compressed-tensors", "format": "pack-quantized"})");
}

TEST(Mxfp4, ExpertsAreThoseThatTransformersUnpacks) {
  const Mxfp4Matrix matrix = read_mxfp4(reference().at("experts_blocks"), reference().at("experts_scales"));
  EXPECT_EQ(matrix.rows, 6U);
  ASSERT_EQ(matrix.cols, 64U);
  const std::vector<float> expected = to_floats(reference().at("experts_expected"));
  ASSERT_EQ(expected.size(), 6U * 64U);
  std::vector<float> row(64);
  for (std::size_t r = 0; r < 6; ++r) {
    widen_row(TensorType::MXFP4, matrix.data.data() + r * 34, 64, row.data());
    for (std::size_t c = 0; c < 64; ++c) EXPECT_EQ(row[c], expected[64 * r + c]) << r << " " << c;
  }
}

TEST(Mxfp4, RefusesOtherShapes) {
  const std::vector<std::byte> bytes(64);
  const auto u8 = SafetensorsType::U8;
  const std::span<const std::byte> all(bytes);
  const SafetensorsTensor scales{"s", u8, {1, 4}, all.first(4)};
  EXPECT_THROW((void)read_mxfp4({"b", u8, {1, 2, 32}, all}, scales), Error);
  EXPECT_THROW((void)read_mxfp4({"b", u8, {2, 2, 16}, all}, scales), Error);
  EXPECT_THROW((void)read_mxfp4({"b", u8, {4, 16}, all}, scales), Error);
  EXPECT_THROW((void)read_mxfp4({"b", SafetensorsType::I8, {1, 4, 16}, all}, scales), Error);
  EXPECT_THROW((void)read_mxfp4({"b", u8, {0, 4, 16}, all.first(0)}, {"s", u8, {0, 4}, all.first(0)}), Error);
  EXPECT_EQ(read_mxfp4({"b", u8, {1, 4, 16}, all}, scales).cols, 128U);
}

// A whole directory: hf_one with its projections in 8 bits, blocks of 16 x 8, scales in a shard of their own.
TEST(Fp8, ADirectoryOpensWithItsWeightsExpanded) {
  const TemporaryDirectory directory;
  for (const auto& entry : std::filesystem::directory_iterator(fixture("hf_one"))) {
    std::filesystem::copy(entry.path(), directory / entry.path().filename().string());
  }
  Json config = Json::parse(read_file(directory / "config.json"));
  config["quantization_config"] = {{"quant_method", "fp8"}, {"weight_block_size", {16, 8}}, {"fmt", "e4m3"}};
  write_file(directory / "config.json", config.dump());
  const SafetensorsFile original(fixture("hf_one") / "model.safetensors");
  std::vector<SafetensorsTensor> weights;
  std::vector<SafetensorsTensor> scales;
  std::vector<std::vector<std::byte>> data;
  Json map;
  for (SafetensorsTensor tensor : original.tensors()) {
    map[tensor.name] = "model-1.safetensors";
    if (tensor.name.ends_with("_proj.weight")) {
      const std::size_t count = tensor.elements();
      auto& codes = data.emplace_back(count);
      for (std::size_t i = 0; i < count; ++i) codes[i] = static_cast<std::byte>(i * 37 % 127);
      tensor.type = SafetensorsType::F8_E4M3;
      tensor.bytes = codes;
      const std::int64_t rows = (tensor.shape[0] + 15) / 16;
      const std::int64_t cols = (tensor.shape[1] + 7) / 8;
      auto& numbers = data.emplace_back(static_cast<std::size_t>(4 * rows * cols));
      for (std::size_t i = 0; i < numbers.size() / 4; ++i) {
        const float scale = 0.01F * static_cast<float>(i + 1);
        std::memcpy(numbers.data() + 4 * i, &scale, 4);
      }
      scales.push_back({tensor.name + "_scale_inv", SafetensorsType::F32, {rows, cols}, numbers});
      map[scales.back().name] = "model-2.safetensors";
    }
    weights.push_back(tensor);
  }
  std::filesystem::remove(directory / "model.safetensors");
  write_safetensors(directory / "model-1.safetensors", weights);
  write_safetensors(directory / "model-2.safetensors", scales);
  write_file(directory / "model.safetensors.index.json", Json{{"weight_map", map}}.dump());

  const auto model = open_model_file(directory.path());
  EXPECT_NE(model->container().find("F8_E4M3 expanded to BF16"), std::string::npos) << model->container();
  const Tensor* down = model->find("model.layers.0.mlp.down_proj.weight");
  ASSERT_NE(down, nullptr);
  EXPECT_EQ(down->type, TensorType::BF16);
  const std::size_t grid = static_cast<std::size_t>(down->cols + 7) / 8;
  for (std::size_t i = 0; i < static_cast<std::size_t>(down->rows * down->cols); ++i) {
    bf16_bits found;
    std::memcpy(&found, down->data + 2 * i, 2);
    const std::size_t row = i / static_cast<std::size_t>(down->cols);
    const std::size_t block = row / 16 * grid + i % static_cast<std::size_t>(down->cols) / 8;
    const float scale = 0.01F * static_cast<float>(block + 1);
    ASSERT_EQ(found, bf16_from_f32(f32_from_e4m3(static_cast<std::uint8_t>(i * 37 % 127)) * scale)) << i;
  }

  write_safetensors(directory / "model-2.safetensors", std::span(scales).first(scales.size() - 1));
  map.erase(scales.back().name);
  write_file(directory / "model.safetensors.index.json", Json{{"weight_map", map}}.dump());
  EXPECT_THROW((void)open_model_file(directory.path()), Error);
}

// gpt-oss's experts through a directory: one tensor for blocks and scales, planes first.
TEST(Mxfp4, ADirectoryHasOneTensorForBlocksAndScales) {
  const TemporaryDirectory directory;
  write_file(
      directory / "config.json",
      R"({"model_type": "gpt_oss", "vocab_size": 8, "quantization_config": {"quant_method": "mxfp4"}})");
  const SafetensorsTensor& blocks = reference().at("experts_blocks");
  const SafetensorsTensor& scales = reference().at("experts_scales");
  write_safetensors(directory / "model.safetensors", std::vector<SafetensorsTensor>{blocks, scales});
  const auto model = open_model_file(directory.path());
  ASSERT_EQ(model->tensors().size(), 1U);
  const Tensor& tensor = model->tensors().front();
  EXPECT_EQ(tensor.name, "experts_blocks");
  EXPECT_EQ(tensor.type, TensorType::MXFP4);
  EXPECT_EQ(tensor.planes, 2);
  EXPECT_EQ(tensor.rows, 3);
  EXPECT_EQ(tensor.cols, 64);
  const Mxfp4Matrix matrix = read_mxfp4(blocks, scales);
  ASSERT_EQ(tensor.bytes, matrix.data.bytes());
  EXPECT_EQ(std::memcmp(tensor.data, matrix.data.data(), tensor.bytes), 0);

  write_safetensors(directory / "model.safetensors", std::vector<SafetensorsTensor>{blocks});
  expect_data_error(directory.path(), "there is no tensor experts_scales",
                    [&] { (void)open_model_file(directory.path()); });
}

}  // namespace
}  // namespace thinkey
