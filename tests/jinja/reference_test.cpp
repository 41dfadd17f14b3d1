// Small templates, feature by feature, against what Jinja renders (tools/make_jinja_fixtures.py).
#include <gtest/gtest.h>

#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "jinja/repr.h"
#include "jinja/template.h"
#include "thinkey/error.h"

namespace thinkey::jinja {
namespace {

class Reference : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    ::setenv("TZ", "UTC", 1);
    ::tzset();
  }
};

TEST_P(Reference, RendersWhatJinjaRendersAndRefusesWhatItRefuses) {
  const auto path = std::filesystem::path(THINKEY_FIXTURES) / "jinja" / (std::string(GetParam()) + ".json");
  std::ifstream stream(path);
  ASSERT_TRUE(stream) << path;
  const nlohmann::json file = nlohmann::json::parse(stream);
  const Value variables =
      from_json(file.at("variables").get<std::string>());  // as text: the keys' order counts
  ASSERT_GT(file.at("cases").size(), 10U);
  for (const nlohmann::json& entry : file.at("cases")) {
    const auto source = entry.at("template").get<std::string>();
    const auto render = [&] {
      return Template(source, "test").render(variables.dict(), file.at("now").get<std::int64_t>());
    };
    if (entry.contains("text")) {
      EXPECT_EQ(render(), entry.at("text").get<std::string>()) << source;
    } else {
      EXPECT_THROW(static_cast<void>(render()), Error) << source;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Features, Reference,
                         ::testing::Values("access", "filters", "literals", "methods", "operators",
                                           "statements", "tests", "whitespace"),
                         [](const auto& test) { return std::string(test.param); });

}  // namespace
}  // namespace thinkey::jinja
