// Sessions on disk, prompts shared by several sessions, and budgets restored during generation.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include "model/fixture.h"
#include "thinkey/error.h"
#include "thinkey/session.h"

namespace thinkey {
namespace {

using testing::expected;
using testing::fixture_path;

class SavedSession : public ::testing::Test {
 protected:
  void TearDown() override { std::filesystem::remove(path_); }

  // The next `n` greedy tokens.
  static std::vector<std::int32_t> greedy(Session& session, int n) {
    std::vector<std::int32_t> out;
    for (int i = 0; i < n; ++i) {
      const auto logits = session.logits();
      out.push_back(
          static_cast<std::int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin()));
      session.decode(out.back());
    }
    return out;
  }

  std::shared_ptr<const Model> model_ =
      Model::load(fixture_path("llama31.gguf"), {.threads = 1, .precision = PrefillPrecision::F32});
  testing::Expected expects_ = expected("llama31");
  std::filesystem::path path_ =
      std::filesystem::temp_directory_path() / ("thinkey-session-" + std::to_string(::getpid()) + ".kv");
};

TEST_F(SavedSession, GoesOnAsTheOriginal) {
  for (const char* spec :
       {"full", "snapkv:40,window=8,every=16+think:0.25,recent=8,form=paper+kivi:4,residual=16"}) {
    Session session(model_, {.cache = CacheSpec::parse(spec)});
    session.prefill(expects_.ids);
    session.save(path_);
    Session restored = Session::load(model_, path_);
    EXPECT_EQ(restored.tokens_seen(), session.tokens_seen());
    EXPECT_EQ(restored.cache_report().bytes, session.cache_report().bytes);
    EXPECT_EQ(restored.cache_bytes_allocated(), restored.cache_report().bytes);
    EXPECT_EQ(greedy(restored, 40), greedy(session, 40)) << spec;
  }
}

TEST_F(SavedSession, OfAnotherModelIsRefused) {
  Session session(model_);
  session.prefill(expects_.ids);
  session.save(path_);
  EXPECT_THROW((void)Session::load(Model::load(fixture_path("llama32.gguf")), path_), Error);
  EXPECT_THROW((void)Session::load(model_, path_, 16), Error);  // more tokens than the context
}

// A model with other angles, or one other weight anywhere, is another model.
TEST_F(SavedSession, OfAModelThatDiffersInAnythingIsRefused) {
  Session session(model_);
  session.prefill(expects_.ids);
  session.save(path_);
  const auto reads = [&](const std::string& name, const std::function<void(std::string&)>& change) {
    std::ifstream in(fixture_path("llama31.gguf"), std::ios::binary);
    std::string bytes((std::istreambuf_iterator<char>(in)), {});
    change(bytes);
    const std::filesystem::path copy = path_.string() + name + ".gguf";
    std::ofstream(copy, std::ios::binary) << bytes;
    const auto other = Model::load(copy, {.threads = 1, .precision = PrefillPrecision::F32});
    std::filesystem::remove(copy);
    try {
      (void)Session::load(other, path_);
      return true;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("another model"), std::string::npos) << error.what();
      return false;
    }
  };
  const auto patch = [](std::string& bytes, std::string_view key, float value) {
    const std::size_t at = bytes.find(key);
    ASSERT_NE(at, std::string::npos);
    std::memcpy(bytes.data() + at + key.size() + sizeof(std::uint32_t), &value,
                sizeof(value));  // after its type
  };
  EXPECT_TRUE(reads("same", [](std::string&) {}));
  EXPECT_FALSE(reads("base", [&](std::string& bytes) { patch(bytes, "llama.rope.freq_base", 1234.0F); }));
  EXPECT_FALSE(reads(
      "epsilon", [&](std::string& bytes) { patch(bytes, "llama.attention.layer_norm_rms_epsilon", 1e-3F); }));
  EXPECT_FALSE(reads("weight", [](std::string& bytes) { bytes[bytes.size() - 1000] ^= 1; }));
}

TEST(PrefillTogether, EqualsOneByOne) {
  const auto model =
      Model::load(fixture_path("llama31.gguf"), {.threads = 1, .precision = PrefillPrecision::F32});
  const testing::Expected expects = expected("llama31");
  std::vector<Session> shared;
  std::vector<Session*> pointers;
  const std::vector<const char*> specs = {"full", "h2o:40,window=8",
                                          "snapkv:40,window=8+think:0.5,form=paper"};
  for (const char* spec : specs) shared.emplace_back(model, SessionOptions{.cache = CacheSpec::parse(spec)});
  for (Session& session : shared) pointers.push_back(&session);
  Session::prefill_together(pointers, expects.ids);
  for (std::size_t i = 0; i < specs.size(); ++i) {
    Session alone(model, {.cache = CacheSpec::parse(specs[i])});
    alone.prefill(expects.ids);
    alone.decode(5);
    shared[i].decode(5);
    EXPECT_TRUE(std::equal(alone.logits().begin(), alone.logits().end(), shared[i].logits().begin()))
        << specs[i];
  }
  EXPECT_THROW(Session::prefill_together(pointers, expects.ids), Error);  // no longer empty
}

TEST(Renewal, TurnsAndGenerationStayWithinTheBudget) {
  const auto model = Model::load(fixture_path("llama31.gguf"), {.threads = 1});
  const testing::Expected expects = expected("llama31");
  Session session(model, {.cache = CacheSpec::parse("snapkv:48,window=8,every=20")});
  session.prefill(expects.ids);
  for (int i = 0; i < 60; ++i) session.decode(5);
  for (const LayerCacheReport& layer : session.cache_report().layers) EXPECT_LE(layer.tokens_kept, 48 + 20);
  session.prefill(std::span(expects.ids).first(60));
  for (const LayerCacheReport& layer : session.cache_report().layers) EXPECT_EQ(layer.tokens_kept, 48);
}

}  // namespace
}  // namespace thinkey
