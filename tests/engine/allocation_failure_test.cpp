// Every buffer's allocation fails once: an Error in one line, nothing leaked, and a session that is whole or
// refuses.
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>

#include "base/aligned_buffer.h"
#include "model/fixture.h"
#include "thinkey/error.h"
#include "thinkey/session.h"

namespace thinkey {
namespace {

using testing::fixture_path;

std::atomic<std::int64_t> left{-1};  // allocations before the one that fails; negative: none fails
std::atomic<bool> failed{false};

bool hook(std::size_t /*bytes*/) {
  if (left.load() < 0) return true;
  const bool fails = left.fetch_sub(1) == 0;
  if (fails) failed = true;
  return !fails;
}

class AllocationFailure : public ::testing::Test {
 protected:
  void SetUp() override { detail::allocation_hook = hook; }
  void TearDown() override {
    left = -1;
    detail::allocation_hook = nullptr;
  }
};

TEST_F(AllocationFailure, OfASessionIsAnErrorAndLeaksNothing) {
  const auto model =
      Model::load(fixture_path("llama2.gguf"), {.threads = 1, .precision = PrefillPrecision::F32});
  const std::vector<std::int32_t> prompt(70, 5);
  for (const char* spec :
       {"full", "snapkv:40,window=8,every=4+think:0.5,bias,recent=4,form=paper+kivi:4,residual=8"}) {
    std::vector<float> wanted;
    {
      Session session(model, {.cache = CacheSpec::parse(spec)});
      session.prefill(prompt);
      wanted.assign(session.logits().begin(), session.logits().end());
    }
    std::int64_t k = 0;
    for (;; ++k) {
      ASSERT_LT(k, 5000);
      Session session(model, {.cache = CacheSpec::parse(spec)});
      failed = false;
      left = k;
      bool prefilled = false;
      try {
        session.prefill(prompt);
        prefilled = true;
        for (int i = 0; i < 40; ++i) session.decode(7);
      } catch (const Error& error) {
        EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos);
      }
      left = -1;
      if (!failed) break;  // fewer than k allocations
      if (prefilled) {
        EXPECT_THROW(session.decode(7), Error) << k;  // layers may differ
      } else {
        EXPECT_EQ(session.tokens_seen(), 0);
        EXPECT_EQ(session.cache_bytes_allocated(), 0U) << k;
        session.prefill(prompt);
        EXPECT_TRUE(std::equal(wanted.begin(), wanted.end(), session.logits().begin())) << k;
      }
    }
    EXPECT_GT(k, 5) << "nothing was tried";
  }
}

TEST_F(AllocationFailure, OfASavedCacheToo) {
  const auto model =
      Model::load(fixture_path("llama2.gguf"), {.threads = 1, .precision = PrefillPrecision::F32});
  const std::filesystem::path path = std::filesystem::temp_directory_path() / "thinkey-allocation.kv";
  {
    Session session(model, {.cache = CacheSpec::parse("think:0.5,recent=4,form=paper+kivi:4,residual=8")});
    session.prefill(std::vector<std::int32_t>(70, 5));
    session.save(path);
  }
  std::int64_t k = 0;
  for (;; ++k) {
    ASSERT_LT(k, 1000);
    failed = false;
    left = k;
    try {
      const Session session = Session::load(model, path);
    } catch (const Error&) {  // a std::bad_alloc from the session's own buffers would end the test
    } catch (const std::bad_alloc&) {
    }
    left = -1;
    if (!failed) break;
  }
  EXPECT_GT(k, 5);
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace thinkey
