#include "formats/safetensors.h"

#include <gmock/gmock.h>
#include <sys/resource.h>

#include <array>
#include <csignal>
#include <cstring>
#include <limits>

#include "formats/format_test_util.h"

namespace thinkey {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using namespace thinkey::testing;  // NOLINT(google-build-using-namespace)

std::string file_of(const std::string& header, const std::string& data) {
  const std::uint64_t length = header.size();
  return std::string(reinterpret_cast<const char*>(&length), 8) + header + data;
}

template <typename T>
SafetensorsTensor entry(const std::string& name, SafetensorsType type, std::vector<std::int64_t> shape,
                        const std::vector<T>& values) {
  return {.name = name, .type = type, .shape = std::move(shape), .bytes = std::as_bytes(std::span(values))};
}

class Safetensors : public ::testing::Test {
 protected:
  void refuses(std::string_view part, const std::string& bytes) {
    SCOPED_TRACE(part);
    write_file(path_, bytes);
    expect_data_error(path_, part, [&] { (void)SafetensorsFile(path_); });
  }
  void refuses_header(std::string_view part, const std::string& header, const std::string& data = "") {
    refuses(part, file_of(header, data));
  }
  std::size_t files_in_directory() const {
    const std::filesystem::directory_iterator begin(directory_.path());
    return static_cast<std::size_t>(std::distance(begin, std::filesystem::directory_iterator()));
  }

  TemporaryDirectory directory_;
  std::filesystem::path path_ = directory_ / "file.safetensors";
};

TEST_F(Safetensors, ReadsWhatTheReferenceWrote) {
  const SafetensorsFile file(fixture("hf_one/model.safetensors"));
  const auto& wanted = expected()["hf_one"]["tensors"];
  EXPECT_EQ(file.metadata().at("format"), "pt");
  ASSERT_THAT(file.tensors(), SizeIs(wanted.size()));
  for (const auto& [name, tensor] : wanted.items()) {
    const SafetensorsTensor& found = file.at(name);
    EXPECT_EQ(found.type, SafetensorsType::BF16);
    EXPECT_EQ(found.shape, tensor["shape"].get<std::vector<std::int64_t>>());
    EXPECT_EQ(fnv1a(found.bytes), tensor["fnv1a"]);
  }
  EXPECT_EQ(file.find("nothing"), nullptr);
  expect_data_error(file.path(), "no tensor nothing", [&] { (void)file.at("nothing"); });
}

TEST_F(Safetensors, WritesAndReadsBack) {
  const std::vector<std::uint8_t> small{1, 0, 255};
  const std::vector<float> floats{1.5F, -2.0F, 0.0F, 4.0F, 5.0F, 6.0F};
  const std::vector<std::int64_t> longs{std::numeric_limits<std::int64_t>::min(), 7};
  const std::vector<std::uint16_t> halves{0x3C00, 0xC000};
  const std::vector<float> none;
  const std::vector<std::uint8_t> nine{9};
  const std::vector<SafetensorsTensor> all{entry("small", SafetensorsType::U8, {3}, small),
                                           entry("floats", SafetensorsType::F32, {2, 3}, floats),
                                           entry("longs", SafetensorsType::I64, {2}, longs),
                                           entry("f16", SafetensorsType::F16, {2, 1}, halves),
                                           entry("none", SafetensorsType::F32, {0, 4}, none),
                                           entry("scalar", SafetensorsType::U8, {}, nine)};
  write_safetensors(path_, all, {{"key", "va\"l\n\u00FC"}, {"empty", ""}});
  EXPECT_EQ(files_in_directory(), 1U);

  const SafetensorsFile file(path_);
  EXPECT_THAT(file.metadata(),
              ElementsAre(std::pair<const std::string, std::string>("empty", ""),
                          std::pair<const std::string, std::string>("key", "va\"l\n\u00FC")));
  EXPECT_THAT(file.tensors(), SizeIs(6));
  EXPECT_EQ(file.at("floats").shape, (std::vector<std::int64_t>{2, 3}));
  EXPECT_EQ(to_floats(file.at("floats")), floats);
  EXPECT_EQ(to_integers(file.at("longs")), longs);
  EXPECT_EQ(to_floats(file.at("f16")), (std::vector<float>{1.0F, -2.0F}));
  EXPECT_EQ(to_integers(file.at("small")), (std::vector<std::int64_t>{1, 0, 255}));
  EXPECT_EQ(to_floats(file.at("small")), (std::vector<float>{1, 0, 255}));
  EXPECT_THAT(to_floats(file.at("none")), IsEmpty());
  EXPECT_THAT(file.at("scalar").shape, IsEmpty());
  EXPECT_THAT(to_integers(file.at("scalar")), ElementsAre(9));
  for (const SafetensorsTensor& tensor : file.tensors()) {
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(tensor.bytes.data()) % (bits(tensor.type) / 8), 0U)
        << tensor.name;
  }
}

TEST_F(Safetensors, EveryTypeIsRepresented) {
  std::string data(64, '\1');
  for (int i = 0; i <= static_cast<int>(SafetensorsType::U64); ++i) {
    const auto type = static_cast<SafetensorsType>(i);
    EXPECT_EQ(safetensors_type(name(type)), type);
    const std::size_t bytes = bits(type);  // of 8 elements
    const std::string header = R"({"t":{"dtype":")" + std::string(name(type)) +
                               R"(","shape":[2,4],"data_offsets":[0,)" + std::to_string(bytes) + "]}}";
    write_file(path_, file_of(header, data.substr(0, bytes)));
    const SafetensorsFile file(path_);
    EXPECT_EQ(file.at("t").type, type);
    EXPECT_EQ(file.at("t").elements(), 8U);
  }
  EXPECT_EQ(safetensors_type("f32"), std::nullopt);
}

TEST_F(Safetensors, Conversions) {
  const std::vector<double> doubles{0.5, -3.0};
  EXPECT_EQ(to_floats(entry("d", SafetensorsType::F64, {2}, doubles)), (std::vector<float>{0.5F, -3.0F}));
  const std::vector<std::uint16_t> bf16{0x3F80, 0xC040};
  EXPECT_EQ(to_floats(entry("b", SafetensorsType::BF16, {2}, bf16)), (std::vector<float>{1.0F, -3.0F}));
  const std::vector<std::int16_t> shorts{-5, 300};
  EXPECT_EQ(to_integers(entry("s", SafetensorsType::I16, {2}, shorts)), (std::vector<std::int64_t>{-5, 300}));
  EXPECT_EQ(to_floats(entry("s", SafetensorsType::I16, {2}, shorts)), (std::vector<float>{-5, 300}));
  EXPECT_THROW((void)to_integers(entry("d", SafetensorsType::F64, {2}, doubles)), Error);
  EXPECT_THROW((void)to_floats(entry("c", SafetensorsType::C64, {2}, doubles)), Error);
  const std::vector<std::uint64_t> big{std::numeric_limits<std::uint64_t>::max()};
  EXPECT_THROW((void)to_integers(entry("u", SafetensorsType::U64, {1}, big)), Error);
}

TEST_F(Safetensors, GoldenFilesOpen) {
  const std::filesystem::path golden = std::filesystem::path(THINKEY_SHARED) / "golden";
  if (!std::filesystem::exists(golden)) GTEST_SKIP() << "no shared files";
  for (const auto& item : std::filesystem::directory_iterator(golden)) {
    const SafetensorsFile file(item.path());
    EXPECT_FALSE(file.tensors().empty()) << item.path();
    EXPECT_FALSE(file.metadata().empty()) << item.path();
  }
}

// ---- Bad input.

const char* const kGood = R"({"__metadata__":{"a":"b"},"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
                          R"("y":{"dtype":"U8","shape":[2,2],"data_offsets":[8,12]}} )";

TEST_F(Safetensors, EveryTruncation) {
  const std::string good = file_of(kGood, std::string(12, '\1'));
  write_file(path_, good);
  EXPECT_THAT(SafetensorsFile(path_).tensors(), SizeIs(2));
  for (std::size_t length = 0; length < good.size(); ++length) refuses("", good.substr(0, length));
  refuses("belong to no tensor", good + "x");
}

TEST_F(Safetensors, EveryFlippedBit) {
  const std::string good = file_of(kGood, std::string(12, '\1'));
  std::size_t loaded = 0;
  for (std::size_t bit = 0; bit < good.size() * 8; ++bit) {
    std::string bad = good;
    bad[bit / 8] = static_cast<char>(static_cast<unsigned char>(bad[bit / 8]) ^ (1U << (bit % 8)));
    write_file(path_, bad);
    try {
      (void)SafetensorsFile(path_);
      ++loaded;
    } catch (const Error& error) {
      expect_good_message(error, path_, "");
    }
    ASSERT_FALSE(HasFailure()) << "bit " << bit;
  }
  EXPECT_GT(loaded, 50U);
  EXPECT_LT(loaded, good.size() * 4);
}

TEST_F(Safetensors, BadHeaders) {
  const auto tensor = [](const std::string& body) { return R"({"x":{)" + body + "}}"; };
  refuses("too short", "1234567");
  refuses("a header of 18446744073709551615 bytes", std::string(8, '\xFF') + "{}");
  refuses("a header of", std::string("\0\0\0\0\1\0\0\0", 8) + "{}");
  refuses_header("not valid JSON", "{");
  refuses_header("not an object", "[]");
  refuses_header("nested deeper", "{\"a\":[[[[[[[]]]]]]]}");
  refuses_header("nested deeper", std::string(100000, '['));
  refuses_header("not an object", R"({"x":1})");
  refuses_header("__metadata__ is not", R"({"__metadata__":[]})");
  refuses_header("\"a\" is not a string", R"({"__metadata__":{"a":1}})");
  refuses_header("\"x\" occurs twice", R"({"x":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},)"
                                       R"("x":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})");
  refuses_header("must have dtype", tensor(R"("dtype":"U8","shape":[1])"), "a");
  refuses_header("must have dtype", tensor(R"("dtype":"U8","shape":[1],"data_offsets":[0,1],"z":0)"), "a");
  refuses_header("dtype is not a string", tensor(R"("dtype":8,"shape":[1],"data_offsets":[0,1])"), "a");
  refuses_header("unknown dtype U9", tensor(R"("dtype":"U9","shape":[1],"data_offsets":[0,1])"), "a");
  for (const char* shape : {"1", "[-1]", "[1.0]", "[\"1\"]", "[null]", "[18446744073709551615]",
                            "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]"}) {
    refuses_header("shape", tensor(std::string(R"("dtype":"U8","data_offsets":[0,1],"shape":)") + shape),
                   "a");
  }
  refuses_header("shape is too large",
                 tensor(R"("dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,0])"));
  refuses_header("shape is too large",
                 tensor(R"("dtype":"U8","shape":[9223372036854775807,2,0],"data_offsets":[0,0])"));
  for (const char* offsets : {"0", "[0]", "[0,1,2]"}) {
    refuses_header("not a pair", tensor(std::string(R"("dtype":"U8","shape":[1],"data_offsets":)") + offsets),
                   "a");
  }
  for (const char* offsets : {"[-1,0]", "[0,2]", "[1,0]", "[0,9223372036854775807]",
                              "[0,18446744073709551615]", "[0,1.0]", "[\"0\",1]"}) {
    refuses_header("outside the file",
                   tensor(std::string(R"("dtype":"U8","shape":[1],"data_offsets":)") + offsets), "a");
  }
  refuses_header("disagree with dtype and shape", tensor(R"("dtype":"U8","shape":[1],"data_offsets":[0,2])"),
                 "ab");
  refuses_header("disagree with dtype and shape", tensor(R"("dtype":"F4","shape":[1],"data_offsets":[0,0])"),
                 "");
  const auto two = [](const std::string& a, const std::string& b) {
    return R"({"a":{"dtype":"U8","shape":[2],"data_offsets":)" + a +
           R"(},"b":{"dtype":"U8","shape":[2],"data_offsets":)" + b + "}}";
  };
  refuses_header("overlap", two("[0,2]", "[1,3]"), "abc");
  refuses_header("overlap", two("[0,2]", "[0,2]"), "ab");
  refuses_header("gap", two("[0,2]", "[3,5]"), "abcde");
  refuses_header("gap", two("[1,3]", "[3,5]"), "abcde");
}

// ---- The writer's refusals: nothing is left behind, an old file stays.

TEST_F(Safetensors, WriterChecksItsInput) {
  const std::vector<float> values{1, 2};
  const auto refuses_tensors = [&](std::string_view part, const std::vector<SafetensorsTensor>& tensors) {
    expect_data_error(path_, part, [&] { write_safetensors(path_, tensors); });
    EXPECT_EQ(files_in_directory(), 0U);
  };
  const auto good = entry("x", SafetensorsType::F32, {2}, values);
  refuses_tensors("8 bytes given", {entry("x", SafetensorsType::F32, {3}, values)});
  refuses_tensors("impossible shape", {entry("x", SafetensorsType::F32, {-2}, values)});
  refuses_tensors("impossible shape",
                  {entry("x", SafetensorsType::F32, {std::int64_t{1} << 62, std::int64_t{1} << 62}, values)});
  refuses_tensors("two tensors are called x", {good, good});
  refuses_tensors("two tensors are called __metadata__",
                  {entry("__metadata__", SafetensorsType::F32, {2}, values)});
  refuses_tensors("not UTF-8", {entry("\xFF", SafetensorsType::F32, {2}, values)});
}

TEST_F(Safetensors, WriterReportsTheSystemsRefusal) {
  const std::vector<float> values{1, 2};
  const std::vector<SafetensorsTensor> tensors{entry("x", SafetensorsType::F32, {2}, values)};
  const auto nowhere = directory_ / "absent";
  expect_data_error(nowhere / "f", "cannot create", [&] { write_safetensors(nowhere / "f", tensors); });
  // A directory of that name cannot be replaced by a file.
  std::filesystem::create_directory(directory_ / "taken");
  expect_data_error(directory_ / "taken", "cannot rename",
                    [&] { write_safetensors(directory_ / "taken", tensors); });
  EXPECT_EQ(files_in_directory(), 1U);
}

TEST_F(Safetensors, AFullDiskLeavesTheOldFile) {
  const std::vector<float> old{1, 2};
  write_safetensors(path_, std::vector{entry("x", SafetensorsType::F32, {2}, old)});
  // A limit on file sizes stands in for a full disk: write() stops short, then fails.
  const std::vector<float> large(1 << 16);
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit limit = before;
  limit.rlim_cur = 4096;
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
  std::string message;
  try {
    write_safetensors(path_, std::vector{entry("x", SafetensorsType::F32, {1 << 16}, large)});
  } catch (const Error& error) {
    message = error.what();
  }
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  (void)std::signal(SIGXFSZ, handler);
  EXPECT_NE(message.find(path_.string() + ": cannot write"), std::string::npos) << message;
  EXPECT_EQ(files_in_directory(), 1U);
  EXPECT_EQ(to_floats(SafetensorsFile(path_).at("x")), old);
}

}  // namespace
}  // namespace thinkey
