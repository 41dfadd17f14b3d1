#include "base/mapped_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/system_memory.h"
#include "thinkey/error.h"

namespace thinkey {
namespace {

namespace fs = std::filesystem;

// A directory of this test alone, removed at its end.
class MappedFileTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    directory_ = fs::temp_directory_path() /
                 ("thinkey_mapped_file_" + std::string(test->name()) + std::to_string(::getpid()));
    fs::create_directories(directory_);
  }
  void TearDown() override { fs::remove_all(directory_); }

  [[nodiscard]] fs::path write(const std::string& name, std::string_view content) const {
    std::ofstream(directory_ / name, std::ios::binary) << content;
    return directory_ / name;
  }
  static std::string_view text(const MappedFile& file) {
    return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
  }
  static std::string message_of(const fs::path& path) {
    try {
      const MappedFile file(path);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::Data);
      return error.what();
    }
    ADD_FAILURE() << "no error for " << path;
    return {};
  }

  fs::path directory_;
};

TEST_F(MappedFileTest, ShowsTheBytes) {
  const MappedFile file(write("a", "hello"));
  EXPECT_EQ(text(file), "hello");
  EXPECT_EQ(file.path(), directory_ / "a");
}

TEST_F(MappedFileTest, EmptyFileIsAnEmptySpan) {
  const MappedFile file(write("empty", ""));
  EXPECT_TRUE(file.bytes().empty());
}

TEST_F(MappedFileTest, MovesKeepTheMapping) {
  MappedFile a(write("a", "first"));
  MappedFile b(std::move(a));
  EXPECT_EQ(text(b), "first");
  MappedFile c(write("c", "second"));
  c = std::move(b);
  EXPECT_EQ(text(c), "first");
}

TEST_F(MappedFileTest, ErrorsNameThePathAndTheReason) {
  EXPECT_THAT(
      message_of(directory_ / "missing"),
      testing::AllOf(testing::HasSubstr((directory_ / "missing").string()), testing::HasSubstr("No such")));
  EXPECT_THAT(message_of(directory_), testing::HasSubstr("not a regular file"));
}

TEST_F(MappedFileTest, PagesGivenBackComeAgain) {
  std::string content(std::size_t{8} << 20U, 'x');
  for (std::size_t i = 0; i < content.size(); i += 1000) content[i] = static_cast<char>('a' + i / 1000 % 26);
  const MappedFile file(write("large", content));
  ASSERT_EQ(text(file), content);
  const std::size_t before = resident_memory();
  give_back_mapped(file.bytes().subspan(100, file.bytes().size() - 200));
  EXPECT_LT(resident_memory() + (std::size_t{7} << 20U), before);
  EXPECT_EQ(text(file), content);
}

// Whose memory is not mapped from a file would lose what it holds.
TEST_F(MappedFileTest, OtherMemoryIsNotGivenBack) {
  const MappedFile file(write("small", "abc"));
  const std::vector<std::byte> own(std::size_t{1} << 20U, std::byte{7});
  give_back_mapped(own);
  give_back_mapped({});
  give_back_mapped(file.bytes());
  EXPECT_EQ(std::count(own.begin(), own.end(), std::byte{7}), std::ptrdiff_t{1} << 20U);
  EXPECT_EQ(text(file), "abc");
}

}  // namespace
}  // namespace thinkey
