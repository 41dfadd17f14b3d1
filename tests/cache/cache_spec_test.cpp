#include "thinkey/cache_spec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>

#include "thinkey/error.h"

namespace thinkey {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

std::string error_of(const std::string& text) {
  try {
    (void)CacheSpec::parse(text);
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::Usage);
    EXPECT_EQ(std::string(e.what()).find('\n'), std::string::npos);
    return e.what();
  }
  return "accepted";
}

TEST(CacheSpec, FullIsTheDefault) {
  EXPECT_EQ(CacheSpec::parse("full"), CacheSpec{});
  EXPECT_EQ(CacheSpec{}.to_string(), "full");
  EXPECT_EQ(CacheSpec{}.observation_window(), 0);
}

TEST(CacheSpec, ReadsEveryForm) {
  const CacheSpec short_form = CacheSpec::parse("snapkv:2048");
  EXPECT_EQ(short_form.eviction.policy, PolicyOptions(SnapKV{}));
  EXPECT_EQ(short_form.eviction.budget, 2048);
  EXPECT_FALSE(short_form.channels.active());

  const CacheSpec long_form =
      CacheSpec::parse("snapkv:budget=2048,window=16,kernel=7,pool=max+think:0.4,form=paper");
  EXPECT_EQ(long_form.eviction.policy,
            PolicyOptions(SnapKV{.window = 16, .kernel = 7, .pooling = Pooling::Max}));
  EXPECT_DOUBLE_EQ(long_form.channels.keys, 0.4);
  EXPECT_EQ(long_form.observation_window(), 32);

  EXPECT_DOUBLE_EQ(CacheSpec::parse("snapkv:25%").eviction.percent, 25.0);
  EXPECT_DOUBLE_EQ(CacheSpec::parse("think:0.5,form=paper").channels.keys, 0.5);
  EXPECT_EQ(CacheSpec::parse("full+think:keys=0.5,recent=64,form=paper").channels.recent, 64);
}

TEST(CacheSpec, PrintsWhatItReads) {
  for (const char* text :
       {"full",
        "snapkv:2048",
        "snapkv:25%",
        "snapkv:12.5%,window=8,kernel=7,pool=max",
        "think:0.5,form=paper",
        "snapkv:100,window=16+think:0.4,recent=0,window=8,form=paper",
        "h2o:80,observe=window",
        "pyramidkv:10%,beta=7.5",
        "streaming:64,sinks=8,every=512",
        "tova:64",
        "keydiff:25%,adakv,floor=0.5,critical,chunk=20",
        "expected:10%,future=128,sinks=2,covariance=no,norm=output,epsilon=0.02,window=64,every=32,adakv",
        "kvzip:25%,sinks=2,normalized,adakv",
        "compactor:2048,sinks=4,recent=8,block=128,blend=0.35",
        "lagkv:512,sinks=16,lag=64",
        "rkv:1024,window=16,kernel=5,lambda=0.07,similarity=0.8,every=128",
        "think:0.4,values=0.3,bias,adaptive",
        "think:values=0.5+kivi:2,group=64,residual=32",
        "snapkv:2048,every=512+think:0.6,form=paper+kivi:4",
        "turbo:4",
        "turbo:22.5%,sinks=0",
        "snapkv:25%,chunk=10+turbo:512MiB",
        "turbo:3B",
        "auto:25%",
        "auto:3GiB",
        "turbo:keys=3,values=2,sinks=0,recent=64",
        "snapkv:25%+think:0.4,form=paper+turbo:keys=4,values=3",
        "kivi:8"}) {
    EXPECT_EQ(CacheSpec::parse(text).to_string(), text);
  }
  EXPECT_EQ(CacheSpec::parse("think:0.5,mixed").to_string(), "think:0.5");
  EXPECT_EQ(CacheSpec::parse("think:values=0.5,form=paper").to_string(), "think:values=0.5");
  EXPECT_EQ(CacheSpec::parse("full+think:keys=0.5,form=paper").to_string(), "think:0.5,form=paper");
  EXPECT_EQ(CacheSpec::parse("think:form=paper,bias,keys=0.5").to_string(), "think:0.5,bias,form=paper");
}

TEST(CacheSpec, NamesTheOffendingWordAndTheChoices) {
  EXPECT_THAT(error_of("snapkv:2048+thinq:0.4"),
              AllOf(HasSubstr("'thinq'"),
                    HasSubstr("full, snapkv, h2o, pyramidkv, streaming, tova, expected, keydiff, kvzip, "
                              "compactor, lagkv, rkv, auto, think, kivi, turbo")));
  EXPECT_THAT(error_of("snapkv:2048,windw=3"),
              AllOf(HasSubstr("'windw'"), HasSubstr("budget, window, kernel, pool, every")));
  EXPECT_THAT(error_of("snapkv:2048,pool=mean"), AllOf(HasSubstr("'mean'"), HasSubstr("avg or max")));
  EXPECT_THAT(error_of("snapkv:many"), HasSubstr("'many'"));
  EXPECT_THAT(error_of("snapkv"), HasSubstr("needs its budget"));
  EXPECT_THAT(error_of("think"), HasSubstr("needs its keys"));
  EXPECT_THAT(error_of("think:0.4,form=paper+snapkv:100"), HasSubstr("snapkv comes before think"));
  EXPECT_THAT(error_of("full+snapkv:100"), HasSubstr("exclude each other"));
  EXPECT_THAT(error_of("full:3"), HasSubstr("takes no options"));
  EXPECT_THAT(error_of(""), HasSubstr("unknown stage ''"));
  EXPECT_THAT(error_of("snapkv:100,"), HasSubstr("no option ''"));
  EXPECT_THAT(error_of("kivi:4+think:0.4,form=paper"), HasSubstr("think comes before kivi"));
  EXPECT_THAT(error_of("kivi:3"), HasSubstr("choose 8, 4 or 2"));
  EXPECT_THAT(error_of("kivi:4+turbo:4"), HasSubstr("exclude each other"));
  EXPECT_THAT(error_of("think:0.5+turbo:4"),
              AllOf(HasSubstr("leave out one"), HasSubstr("think:0.5,form=paper")));
  EXPECT_THAT(error_of("think:0.5,form=thin"), AllOf(HasSubstr("'thin'"), HasSubstr("mixed or paper")));
  EXPECT_THAT(error_of("turbo:7"), HasSubstr("choose 8, 6, 5, 4, 3, 2 or 1"));
  EXPECT_THAT(error_of("turbo:0%"), HasSubstr("keeps nothing"));
  EXPECT_THAT(error_of("turbo:20%,keys=3"), HasSubstr("choose one"));
  EXPECT_THAT(error_of("auto"), HasSubstr("auto:25% or auto:512MiB"));
  EXPECT_THAT(error_of("auto:lots"), AllOf(HasSubstr("'lots'"), HasSubstr("512MiB"), HasSubstr("25%")));
  EXPECT_THAT(error_of("auto:25%+kivi:4"), HasSubstr("leave out the others"));
  EXPECT_THAT(error_of("snapkv:25%+auto:25%"), HasSubstr("exclude each other"));
  EXPECT_THAT(error_of("turbo:values=3"), HasSubstr("keys in 16 bits"));
  EXPECT_THAT(error_of("turbo:4,sinks=33"), HasSubstr("sinks"));
  EXPECT_THAT(error_of("kivi:4,group=48"), HasSubstr("choose 32, 64 or 128"));
  EXPECT_THAT(error_of("think:bias"), HasSubstr("needs its keys"));
  EXPECT_THAT(error_of("think:0.4,bias=2,form=paper"), HasSubstr("takes no value"));
  EXPECT_THAT(error_of("streaming:4"),
              AllOf(HasSubstr("below the 5 tokens that streaming always keeps"), HasSubstr("lower sinks")));
  EXPECT_THAT(error_of("h2o:100,observe=none"), HasSubstr("all or window"));
  EXPECT_THAT(error_of("snapkv:budget="), HasSubstr("has no value"));
}

TEST(CacheSpec, RefusesValuesOutOfRange) {
  for (const char* text :
       {"think:1.0,form=paper", "think:-0.1", "think:nan", "think:0.4,recent=-1,form=paper", "snapkv:0",
        "snapkv:-5", "snapkv:16", "snapkv:100,window=0", "snapkv:100,kernel=4", "snapkv:100,kernel=0",
        "snapkv:0%", "snapkv:101%", "snapkv:99999999999999999999", "snapkv:1e3",
        "think:0.4,window=0,form=paper"}) {
    EXPECT_NE(error_of(text), "accepted") << text;
  }
}

TEST(CacheSpec, SurvivesGarbage) {
  std::mt19937 random(1);
  const std::string alphabet = "snapkv:think+full,=%0123456789.- \xff";
  for (int i = 0; i < 20000; ++i) {
    std::string text;
    for (std::size_t n = random() % 24; n > 0; --n) text += alphabet[random() % alphabet.size()];
    try {
      const CacheSpec spec = CacheSpec::parse(text);
      EXPECT_EQ(CacheSpec::parse(spec.to_string()), spec) << text;
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::Usage);
    }
  }
}

TEST(CacheSpec, BudgetsAndChannels) {
  EXPECT_EQ(CacheSpec::parse("full").eviction.budget_for(77), 77);
  EXPECT_EQ(CacheSpec::parse("snapkv:100").eviction.budget_for(77), 77);
  EXPECT_EQ(CacheSpec::parse("snapkv:100").eviction.budget_for(777), 100);
  EXPECT_EQ(CacheSpec::parse("snapkv:25%").eviction.budget_for(1001), 251);
  EXPECT_EQ(CacheSpec::parse("snapkv:1%").eviction.budget_for(1000), 32);          // never below the window
  EXPECT_EQ(CacheSpec::parse("think:0.4,form=paper").channels.kept_keys(64), 39);  // 64 - floor(25.6)
  EXPECT_EQ(CacheSpec::parse("think:0.6,form=paper").channels.kept_keys(128), 52);
  EXPECT_EQ(CacheSpec::parse("think:0.999,form=paper").channels.kept_keys(64), 1);
}

}  // namespace
}  // namespace thinkey
