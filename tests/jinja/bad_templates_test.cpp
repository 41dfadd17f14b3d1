// Templates that would take too much: all end in one line, and soon.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ctime>
#include <string>
#include <vector>

#include "jinja/repr.h"
#include "jinja/template.h"
#include "thinkey/error.h"

namespace thinkey::jinja {
namespace {

std::string repeated(const std::string& part, int times) {
  std::string text;
  for (int i = 0; i < times; ++i) text += part;
  return text;
}

std::string outcome(const std::string& source) {
  try {
    static_cast<void>(Template(source, "bad").render(from_json(R"({"l": [1, 2], "s": "text"})").dict()));
  } catch (const Error& error) {
    return error.what();
  }
  return "rendered";
}

class BadTemplate : public ::testing::TestWithParam<std::pair<const char*, std::string>> {};

TEST_P(BadTemplate, EndsInOneLineAndSoon) {
  const std::clock_t start = std::clock();
  const std::string message = outcome(GetParam().second);
  EXPECT_THAT(message, ::testing::StartsWith("bad: chat template"));
  EXPECT_EQ(message.find('\n'), std::string::npos);
  EXPECT_LT(std::clock() - start, 60 * CLOCKS_PER_SEC);  // of work, with sanitizers
}

INSTANTIATE_TEST_SUITE_P(
    All, BadTemplate,
    ::testing::Values(
        std::pair("DeepParentheses",
                  repeated("{{ ", 1) + repeated("(", 20000) + "1" + repeated(")", 20000) + " }}"),
        std::pair("DeepLists", "{{ " + repeated("[", 20000) + repeated("]", 20000) + " }}"),
        std::pair("DeepNot", "{{ " + repeated("not ", 20000) + "1 }}"),
        std::pair("DeepMinus", "{{ " + repeated("-", 20000) + "1 }}"),
        std::pair("LongSum", "{{ 1" + repeated(" + 1", 20000) + " }}"),
        std::pair("LongAttributes", "{{ l" + repeated(".x", 20000) + " }}"),
        std::pair("LongFilters", "{{ s" + repeated("|trim", 20000) + " }}"),
        std::pair("LongConditions", "{{ 1" + repeated(" if 1 else 1", 20000) + " }}"),
        std::pair("DeepBlocks", repeated("{% if 1 %}", 20000) + repeated("{% endif %}", 20000)),
        std::pair("DeepLoops", repeated("{% for i in l %}", 90) + "x" + repeated("{% endfor %}", 90)),
        std::pair("EndlessMacro", "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}"),
        std::pair("EndlessPair",
                  "{% macro f() %}{{ g() }}{% endmacro %}{% macro g() %}{{ f() }}{% endmacro %}{{ f() }}"),
        std::pair("EndlessCaller",
                  "{% macro f() %}{% call f() %}{{ caller() }}{% endcall %}{% endmacro %}{{ f() }}"),
        std::pair("EndlessLoop", "{% for i in [[1]] recursive %}{{ loop([[1]]) }}{% endfor %}"),
        std::pair("ManySteps",
                  "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"),
        std::pair("HugeRange", "{{ range(100001) }}"),
        std::pair("HugeRangeOfNegatives", "{{ range(9223372036854775807, -9223372036854775807, -1) }}"),
        std::pair("Doubling",
                  "{% set ns = namespace(s='ab') %}{% for i in range(99) %}{% set ns.s = ns.s ~ ns.s %}"
                  "{% endfor %}{{ ns.s }}"),
        std::pair("Repetition", "{{ 'abc' * 999999999999 }}"),
        std::pair("ListRepetition", "{{ ([1] * 99999999)|length }}"),
        std::pair("Padding", "{{ 'a'.rjust(99999999999) }}"),
        std::pair("FormatWidth", "{{ '%99999999999d' % 1 }}"),
        std::pair("BraceWidth", "{{ '{:99999999999}'.format(1) }}"),
        std::pair("Precision", "{{ '%.999999999f' % 1.5 }}"),
        std::pair("OutputBomb", "{% for i in range(99999) %}{{ 'x' * 100000 }}{% endfor %}"),
        std::pair("KeptText",
                  "{% set ns = namespace(l=[]) %}{% for i in range(99999) %}"
                  "{% set ns.l = ns.l + ['x' * 100000 ~ i] %}{% endfor %}"),
        std::pair("DeepValue",
                  "{% set ns = namespace(l=[]) %}{% for i in range(99999) %}{% set ns.l = [ns.l] %}"
                  "{% endfor %}"),
        std::pair("WideValue",
                  "{% set ns = namespace(l=[1]) %}{% for i in range(150) %}"
                  "{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l }}"),
        std::pair("WideEquality",
                  "{% set a = namespace(l=[1]) %}{% set b = namespace(l=[1]) %}{% for i in range(150) %}"
                  "{% set a.l = [a.l, a.l] %}{% set b.l = [b.l, b.l] %}{% endfor %}{{ a.l == b.l }}"),
        std::pair("Cycle", "{% set ns = namespace() %}{% set ns.x = [ns] %}{{ ns.x }}"),
        std::pair("BigInteger", "{{ 9223372036854775807 + 1 }}"),
        std::pair("BigPower", "{{ 10 ** 10 ** 10 }}"),
        std::pair("MinimumNegated", "{{ (-9223372036854775807 - 1) // -1 }}"),
        std::pair("TooLong", std::string((1U << 20U) + 1, 'x'))),
    [](const auto& test) { return std::string(test.param.first); });

TEST(Sandbox, NothingBeyondTheVariablesIsReachable) {
  for (const char* source :
       {"{{ s.__class__.__mro__ }}", "{{ s['__class__']() }}", "{{ ''.__class__.__base__.__subclasses__() }}",
        "{{ l.append(3) }}", "{{ raise_exception.__globals__['os'] }}", "{{ namespace.__init__() }}",
        "{{ '{0.__class__.__mro__}'.format(s) }}", "{% set ns = namespace() %}{% set ns.__class__ = 1 %}",
        "{{ s|attr('__class__')|list|length }}{{ s.__doc__.x }}", "{{ self.x }}", "{{ config.x }}"}) {
    EXPECT_NE(outcome(source), "rendered") << source;
  }
}

// What namespaces and macros refer to in circles is freed: the leak checker of the sanitizers' build looks.
TEST(Sandbox, CirclesAreFreed) {
  EXPECT_EQ(outcome("{% set ns = namespace() %}{% set ns.self = ns %}{% macro f() %}{{ ns.a }}{% endmacro %}"
                    "{% set ns.f = f %}{% for i in l %}{% macro g() %}{{ i }}{% endmacro %}{% set ns.g = g %}"
                    "{% endfor %}{{ ns.g() }}"),
            "rendered");
}

}  // namespace
}  // namespace thinkey::jinja
