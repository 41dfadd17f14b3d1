// Split models: opened as one, and refused with one line that says what is wrong.
#include "formats/gguf_split.h"

#include <functional>

#include "formats/format_test_util.h"
#include "formats/gguf_builder.h"

namespace thinkey {
namespace {

using namespace thinkey::testing;  // NOLINT(google-build-using-namespace)

std::string gguf_u16(std::uint16_t value) { return gguf_scalar(GgufType::U16, value); }

class GgufSplit : public ::testing::Test {
 protected:
  // The tiny model in three parts: 5, 4 and 3 tensors.
  void SetUp() override {
    const GgufBuilder whole = tiny_gguf();
    for (std::size_t part = 0; part < 3; ++part) {
      GgufBuilder& file = parts_.emplace_back();
      if (part == 0) file.values = whole.values;
      file.set("split.no", gguf_u16(static_cast<std::uint16_t>(part)));
      file.set("split.count", gguf_u16(3));
      file.set("split.tensors.count", gguf_scalar(GgufType::I32, std::int32_t{12}));
      for (std::size_t i = 0; i < 12; ++i) {
        if ((i < 5 ? 0U : i < 9 ? 1U : 2U) == part) file.add(whole.tensors[i].name, whole.tensors[i].extents);
      }
    }
  }
  [[nodiscard]] std::filesystem::path path(std::size_t part, const std::string& of = "00003") const {
    return directory_ / ("tiny-0000" + std::to_string(part + 1) + "-of-" + of + ".gguf");
  }
  void write_all() {
    for (std::size_t part = 0; part < 3; ++part) {
      std::string bytes = parts_[part].build();
      // Something to tell the parts' data by.
      for (std::size_t i = 1; i <= parts_[part].data_bytes; ++i)
        bytes[bytes.size() - i] = static_cast<char>(part);
      write_file(path(part), bytes);
    }
  }
  void refuses(std::string_view part, const std::filesystem::path& named,
               const std::function<void()>& change) {
    SCOPED_TRACE(part);
    const auto before = parts_;
    change();
    write_all();
    parts_ = before;
    expect_data_error(named, part, [&] { (void)open_model_file(path(0)); });
  }

  TemporaryDirectory directory_;
  std::vector<GgufBuilder> parts_;
};

TEST_F(GgufSplit, OpensAsOneModel) {
  write_all();
  const auto model = open_model_file(path(0));
  EXPECT_EQ(model->container(), "GGUF v3, 3 parts");
  EXPECT_EQ(model->tensors().size(), 12U);
  const std::size_t bytes = std::filesystem::file_size(path(0)) + std::filesystem::file_size(path(1)) +
                            std::filesystem::file_size(path(2));
  EXPECT_EQ(model->file_bytes(), bytes);
  EXPECT_EQ(model->find("token_embd.weight")->data[0], std::byte{0});
  EXPECT_EQ(model->find("blk.0.attn_output.weight")->data[0], std::byte{1});
  EXPECT_EQ(model->find("output.weight")->data[0], std::byte{2});
  EXPECT_EQ(read_gguf_vocabulary(path(0)).tokens.size(), 5U);
}

// As llama-gguf-split --no-tensor-first-split makes them.
TEST_F(GgufSplit, TheFirstPartMayHoldMetadataOnly) {
  for (const GgufBuilder::Entry& tensor : parts_[0].tensors) parts_[1].add(tensor.name, tensor.extents);
  parts_[0].tensors.clear();
  parts_[0].place();
  write_all();
  EXPECT_EQ(open_model_file(path(0))->tensors().size(), 12U);
}

TEST_F(GgufSplit, ALaterPartNamesTheFirst) {
  write_all();
  expect_data_error(path(1), "is part 2 of 3 of a split model; open the first part, tiny-00001-of-00003.gguf",
                    [&] { (void)open_model_file(path(1)); });
  expect_data_error(path(2), "part 3 of 3", [&] { (void)read_gguf_vocabulary(path(2)); });
  std::filesystem::rename(path(1), directory_ / "renamed.gguf");
  expect_data_error(directory_ / "renamed.gguf",
                    "is part 2 of 3 of a split model; open the first part instead",
                    [&] { (void)open_model_file(directory_ / "renamed.gguf"); });
}

TEST_F(GgufSplit, MissingPartsAreOneError) {
  write_all();
  std::filesystem::remove(path(2));
  expect_data_error(path(0),
                    "1 of the 3 parts of this split model is not beside it: tiny-00003-of-00003.gguf",
                    [&] { (void)open_model_file(path(0)); });
  std::filesystem::remove(path(1));
  expect_data_error(path(0), "2 of the 3 parts of this split model are not beside it: tiny-00002",
                    [&] { (void)open_model_file(path(0)); });
  std::filesystem::rename(path(0), directory_ / "renamed.gguf");
  expect_data_error(directory_ / "renamed.gguf", "is not called NAME-00001-of-00003.gguf",
                    [&] { (void)open_model_file(directory_ / "renamed.gguf"); });
}

TEST_F(GgufSplit, PartsThatDoNotBelongTogether) {
  refuses("says that it is part 3 of 3", path(1), [&] { parts_[1].set("split.no", gguf_u16(2)); });
  refuses("says that it is part 1 of 1", path(1), [&] {
    parts_[1].erase("split.no");
    parts_[1].erase("split.count");
  });
  refuses("part 2 of 4", path(1), [&] { parts_[1].set("split.count", gguf_u16(4)); });
  refuses("hold 12 tensors where split.tensors.count says 13", path(2),
          [&] { parts_[2].set("split.tensors.count", gguf_scalar(GgufType::I32, std::int32_t{13})); });
  refuses("general.architecture differs", path(1),
          [&] { parts_[1].set("general.architecture", gguf_text("mistral")); });
  refuses("llama.rope.freq_base differs", path(2),
          [&] { parts_[2].set("llama.rope.freq_base", gguf_f32(1e6F)); });
  refuses("two tensors are called token_embd.weight", path(1), [&] {
    parts_[1].tensors[0].name = "token_embd.weight";
    parts_[1].resize("token_embd.weight", {16, 5});
  });
  refuses("tensor output.weight lies outside the file", path(2),
          [&] { parts_[2].tensor("output.weight").offset = 1U << 20U; });
  refuses("not those of one of at most 4096 parts", path(0),
          [&] { parts_[0].set("split.count", gguf_u16(60000)); });
  refuses("not those of one of at most", path(0), [&] { parts_[0].set("split.no", gguf_u16(3)); });
  refuses("split.no is not an integer", path(0), [&] { parts_[0].set("split.no", gguf_text("0")); });
}

TEST_F(GgufSplit, MergedFilesAreWhole) {
  GgufBuilder file = tiny_gguf();
  for (const std::uint16_t count : {std::uint16_t{0}, std::uint16_t{1}}) {
    file.set("split.count", gguf_u16(count));
    file.set("split.no", gguf_u16(0));
    write_file(directory_ / "merged.gguf", file.build());
    EXPECT_EQ(open_model_file(directory_ / "merged.gguf")->container(), "GGUF v3");
  }
}

}  // namespace
}  // namespace thinkey
