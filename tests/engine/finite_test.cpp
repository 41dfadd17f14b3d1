// NaN in a model's weights is an error that says where, whichever way the session takes.
#include "model/finite.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>

#include "formats/model_file.h"
#include "model/fixture.h"
#include "thinkey/error.h"
#include "thinkey/session.h"

namespace thinkey {
namespace {

using testing::fixture_path;
using ::testing::HasSubstr;

// A copy of a fixture in which one number of a tensor is another.
class Patched {
 public:
  Patched(const char* fixture, const char* tensor, std::size_t element, float value) {
    std::ifstream in(fixture_path(fixture), std::ios::binary);
    std::string bytes{std::istreambuf_iterator<char>(in), {}};
    const auto file = open_model_file(fixture_path(fixture));
    const Tensor* found = file->find(tensor);
    EXPECT_NE(found, nullptr);
    EXPECT_EQ(found->type, TensorType::F32) << tensor;
    const std::string data(reinterpret_cast<const char*>(found->data), found->bytes);
    const std::size_t at = bytes.find(data);
    EXPECT_NE(at, std::string::npos);
    std::memcpy(bytes.data() + at + element * sizeof(float), &value, sizeof(float));
    path_ =
        std::filesystem::temp_directory_path() / ("thinkey-finite-" + std::to_string(::getpid()) + ".gguf");
    std::ofstream(path_, std::ios::binary) << bytes;
  }
  ~Patched() { std::filesystem::remove(path_); }
  Patched(const Patched&) = delete;
  Patched& operator=(const Patched&) = delete;

  [[nodiscard]] std::shared_ptr<const Model> load(bool check) const {
    return Model::load(path_, {.threads = 1, .precision = PrefillPrecision::F32, .check_finite = check});
  }

 private:
  std::filesystem::path path_;
};

template <typename Call>
std::string non_finite(const Call& call) {
  try {
    call();
  } catch (const NonFiniteError& error) {
    return error.what();
  }
  return "nothing was thrown";
}

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
const std::vector<std::int32_t> kPrompt = {1, 5, 9, 12, 7};

TEST(Finite, FirstNonFinite) {
  std::vector<float> x(5000, 1.0F);
  EXPECT_EQ(first_non_finite(x), x.size());
  EXPECT_EQ(first_non_finite({}), 0U);
  for (const float bad :
       {kNan, std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity()}) {
    for (const std::size_t at : {0U, 1023U, 1024U, 4999U}) {
      std::vector<float> y = x;
      y[at] = bad;
      EXPECT_EQ(first_non_finite(y), at);
    }
  }
}

TEST(Finite, PrefillNamesTheToken) {
  const Patched file("llama2.gguf", "output_norm.weight", 3, kNan);
  Session session(file.load(false));
  EXPECT_THAT(non_finite([&] { session.prefill(kPrompt); }),
              ::testing::AllOf(HasSubstr("after token 4"), HasSubstr("NaN"), HasSubstr("--check-finite")));
  EXPECT_EQ(session.tokens_seen(), 0);  // as after any other failed first prefill
  // Every position's logits, too: the first is the one that is named.
  EXPECT_THAT(non_finite([&] { session.prefill(kPrompt, {}, [](std::size_t, std::span<const float>) {}); }),
              HasSubstr("after token 0"));
  Session other(file.load(true));
  EXPECT_THAT(non_finite([&] { other.prefill(kPrompt); }), HasSubstr("output norm"));
}

TEST(Finite, TogetherAndDecode) {
  const Patched file("llama2.gguf", "output_norm.weight", 0, std::numeric_limits<float>::infinity());
  const auto model = file.load(false);
  Session a(model);
  Session b(model, {.cache = CacheSpec::parse("think:0.5,form=paper")});
  const std::vector<Session*> both = {&a, &b};
  EXPECT_THAT(non_finite([&] { Session::prefill_together(both, kPrompt); }), HasSubstr("after token 4"));
  EXPECT_THAT(non_finite([&] { a.decode(3); }), HasSubstr("after token 0"));
  EXPECT_THROW(a.decode(3), Error);  // it is not gone on with
  EXPECT_THROW(a.save("nowhere"), Error);
}

TEST(Finite, CheckedLayersAreNamed) {
  const Patched file("llama2.gguf", "blk.1.attn_norm.weight", 2, kNan);
  Session session(file.load(true));
  EXPECT_THAT(non_finite([&] { session.prefill(kPrompt); }),
              ::testing::AllOf(HasSubstr("layer 1"), HasSubstr("token 0")));
  Session one_by_one(file.load(true));
  EXPECT_THAT(non_finite([&] { one_by_one.decode(3); }), HasSubstr("layer 1"));
  // Without being asked to look: a cache's fixed point would make numbers of them.
  Session decoded(file.load(false));
  EXPECT_THAT(non_finite([&] { decoded.decode(3); }), HasSubstr("token 0 in layer 1"));
  Session unchecked(file.load(false));
  EXPECT_THAT(non_finite([&] { unchecked.prefill(kPrompt); }), HasSubstr("logits after token 4"));
}

}  // namespace
}  // namespace thinkey
