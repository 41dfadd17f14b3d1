// Stop strings: whatever pieces a text comes in, nothing of a stop string is given, and nothing else is lost.
#include "engine/scheduler/text_stream.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "engine/model_impl.h"
#include "thinkey/model.h"

namespace thinkey {
namespace {

class Stops : public ::testing::Test {
 protected:
  const Tokenizer& tokenizer() { return ModelAccess::impl(*model_).need_tokenizer(); }

  // What comes out of it, and whether it was stopped.
  std::pair<std::string, bool> feed(const std::string& text, const std::vector<std::string>& stop) {
    TextStream stream(&tokenizer(), false, stop);
    std::string out;
    for (const std::int32_t id : model_->tokenize(text, {.add_special = false, .parse_special = false})) {
      out += stream.push(id);
      if (stream.stopped()) return {out, true};
    }
    return {out + stream.finish(), false};
  }

  // One-character tokens.
  std::shared_ptr<const Model> model_ = Model::load(THINKEY_FIXTURES "/model/llama2.gguf", {.threads = 1});
};

TEST_F(Stops, LeakNothing) {
  const std::string whole = feed("say abab and abc", {}).first;
  ASSERT_NE(whole.find("abab and abc"), std::string::npos);
  const std::string before = whole.substr(0, whole.find("abab"));
  EXPECT_EQ(feed("say abab and abc", {"abc"}), std::pair(before + "abab and ", true));
  EXPECT_EQ(feed("say abab and abc", {"abad", "zz"}), std::pair(whole, false));
  EXPECT_EQ(feed("say abab and abc", {"ab"}), std::pair(before, true));
  EXPECT_EQ(feed("say abab and abc", {"bab and", "abab"}), std::pair(before, true))
      << "what is complete first";
  EXPECT_EQ(feed("say abab and abc", {"abcd"}), std::pair(whole, false)) << "held back, and given in the end";
}

}  // namespace
}  // namespace thinkey
