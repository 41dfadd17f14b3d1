#include "jinja/template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

#include "jinja/repr.h"
#include "thinkey/error.h"

namespace thinkey::jinja {
namespace {

using ::testing::HasSubstr;

std::string message_of(const std::string& source, const std::string& variables = "{}") {
  try {
    static_cast<void>(Template(source, "some.gguf").render(from_json(variables).dict()));
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::Data);
    return error.what();
  }
  ADD_FAILURE() << "not refused: " << source;
  return {};
}

TEST(Template, ErrorsAreTheTemplatesOwnWithItsLine) {
  EXPECT_EQ(message_of("a\n\n{{ raise_exception('Roles must\nalternate!') }}"),
            "some.gguf: chat template, line 3: Roles must alternate!");
  EXPECT_EQ(message_of("{% if a %}\n{{ b.c }}{% endif %}", R"({"a": 1})"),
            "some.gguf: chat template, line 2: 'b' is undefined");
  EXPECT_EQ(message_of("{{ a.b.c }}", R"({"a": {}})"),
            "some.gguf: chat template, line 1: 'dict object' has no attribute 'b'");
  EXPECT_THAT(message_of("x\n{% if a %}\n"), HasSubstr("line 2: the end of the template, where 'endif'"));
  EXPECT_THAT(message_of("\n{{ a | nothing }}"), HasSubstr("line 2: No filter named 'nothing'."));
  EXPECT_THAT(message_of("{% include 'x' %}"), HasSubstr("'include' is not available"));
}

TEST(Template, MessagesStayOnOneLineAndShort) {
  const std::string message = message_of("{{ raise_exception('a\nb\x1b' ~ 'é' * 9000) }}");
  EXPECT_EQ(message.find('\n'), std::string::npos);
  EXPECT_EQ(message.find('\x1b'), std::string::npos);
  EXPECT_LT(message.size(), 600U);
  EXPECT_TRUE(message.ends_with("..."));
}

TEST(Template, InvalidUtf8IsRefused) { EXPECT_THAT(message_of("abc\xff"), HasSubstr("UTF-8 at byte 3")); }

TEST(Template, JsonKeepsItsOrderAndItsIntegers) {
  const Value value = from_json(R"({"z": 1, "a": [1.0, 9007199254740993, true, null, "é"], "z": 2})");
  Budget budget(1000, {});
  EXPECT_EQ(to_json(value, {}, budget), R"({"z": 2, "a": [1.0, 9007199254740993, true, null, "é"]})");
}

TEST(Template, JsonBeyondItsBoundsIsRefused) {
  EXPECT_THROW(static_cast<void>(from_json(std::string(100000, '['))), Fault);
  EXPECT_THROW(static_cast<void>(from_json("18446744073709551616")), Fault);
  EXPECT_THROW(static_cast<void>(from_json("9223372036854775808")), Fault);
  EXPECT_THROW(static_cast<void>(from_json("{\"a\": 1")), Fault);
  EXPECT_THROW(static_cast<void>(from_json("\"\\ud800\"")), Fault);
}

TEST(Template, ThreadsMayShareOne) {
  const Template shared(
      "{% set ns = namespace(n=0) %}{% for i in range(k) %}{% set ns.n = ns.n + i %}{% endfor %}{{ ns.n }}",
      "test");
  std::vector<std::string> results(4);
  {
    std::vector<std::jthread> threads;
    for (std::size_t i = 0; i < results.size(); ++i) {
      threads.emplace_back([&shared, &results, i] {
        const Value variables = from_json("{\"k\": " + std::to_string(100 * (i + 1)) + "}");
        results[i] = shared.render(variables.dict());
      });
    }
  }
  EXPECT_EQ(results, (std::vector<std::string>{"4950", "19900", "44850", "79800"}));
}

}  // namespace
}  // namespace thinkey::jinja
