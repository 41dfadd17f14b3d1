#include "formats/json.h"

#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <limits>
#include <string>

#include "formats/format_test_util.h"
#include "formats/printable.h"

namespace thinkey {
namespace {

using namespace thinkey::testing;  // NOLINT(google-build-using-namespace)

Json parse(const std::string& text) { return parse_json(text, "/some/file", "file", 8); }

TEST(Json, ParsesWithinLimits) {
  EXPECT_EQ(parse(R"({"a": [1, {"a": 2}], "b": {"a": 3}})")["a"][0], 1);
  EXPECT_EQ(parse(std::string(8, '[') + std::string(8, ']')).size(), 1U);
}

TEST(Json, RefusesWithOneLine) {
  const auto refuses = [](const std::string& text, std::string_view part) {
    expect_data_error("/some/file", part, [&] { (void)parse(text); });
  };
  refuses("", "not valid JSON");
  refuses("{\"a\":\n1,}", "byte 9");
  refuses("[1e999]", "out of range");
  refuses("\"\xFF\"", "not valid JSON");
  refuses(std::string(9, '['), "nested deeper than 8");
  refuses(std::string(1'000'000, '['), "nested deeper than 8");
  refuses(R"({"a": 1, "b": {}, "a": 2})", "\"a\" occurs twice");
  refuses(R"([{"x": {"a": 1, "a": 2}}])", "\"a\" occurs twice");
}

// Processor time of this process for a list of one object with 2 n keys and n small objects; the least of
// three turns, since other work on the machine only adds.
std::clock_t time_to_parse(int n) {
  std::string text = R"([{)";
  for (int i = 0; i < 2 * n; ++i) text += fmt::format("\"k{}\":0,", i);
  text += "\"end\":0}";
  for (int i = 0; i < n; ++i) text += ",{\"a\":0}";
  text += "]";
  std::clock_t least = std::numeric_limits<std::clock_t>::max();
  for (int turn = 0; turn < 3; ++turn) {
    const std::clock_t begin = std::clock();
    EXPECT_EQ(parse(text).size(), static_cast<std::size_t>(n) + 1);
    least = std::min(least, std::clock() - begin);
  }
  return least;
}

// Neither many keys nor many elements make what follows them slower: 16 times the text takes about 16 times
// as long (caches make it some more), where quadratic time would be 256 times.
TEST(Json, ManyKeysAndManyObjectsTakeLinearTime) {
  constexpr int kFew = 5'000;
  EXPECT_LT(time_to_parse(16 * kFew), 64 * time_to_parse(kFew));
}

TEST(Json, TypedViewsNameTheKey) {
  const Json json = parse(R"({"i": 3, "f": 1.5, "s": "x", "b": true, "n": null, "o": {"k": "v"}, "l": [],
                              "big": 18446744073709551615})");
  const JsonView view(json, "/some/file");
  EXPECT_EQ(view.integer("i"), 3);
  EXPECT_EQ(view.number("i"), 3.0);
  EXPECT_EQ(view.number("f"), 1.5);
  EXPECT_EQ(view.text("s"), "x");
  EXPECT_EQ(view.boolean("b"), true);
  EXPECT_EQ(view.integer("n"), std::nullopt);
  EXPECT_EQ(view.integer("absent"), std::nullopt);
  const auto refuses = [](std::string_view part, auto&& call) {
    expect_data_error("/some/file", part, call);
  };
  refuses("f is not an integer", [&] { (void)view.integer("f"); });
  refuses("big is not an integer", [&] { (void)view.integer("big"); });
  refuses("s is not a number", [&] { (void)view.number("s"); });
  refuses("i is not a string", [&] { (void)view.text("i"); });
  refuses("i is not true or false", [&] { (void)view.boolean("i"); });
  refuses("l is not an object", [&] { (void)view.object("l"); });
  refuses("o is not a list", [&] { (void)view.array("o"); });
  refuses("o.k is not an integer", [&] { (void)view.object("o")->integer("k"); });
  refuses("absent is missing", [&] { (void)view.require_text("absent"); });
  refuses("n is missing", [&] { (void)view.require_integer("n"); });
}

TEST(Printable, EscapesWhatATerminalObeys) {
  EXPECT_EQ(printable("plain \u2581\U0001F600"), "plain \u2581\U0001F600");
  EXPECT_EQ(printable("a\nb\x1B[2J\x7F"), "a\\nb\\x1b[2J\\x7f");
  EXPECT_EQ(printable("\xC2\x9B"), "\\xc2\\x9b");                             // a C1 control
  EXPECT_EQ(printable("\u2028"), "\\xe2\\x80\\xa8");                          // a line separator
  EXPECT_EQ(printable("\xC0\x80\xED\xA0\x80"), "\\xc0\\x80\\xed\\xa0\\x80");  // overlong, surrogate
  EXPECT_EQ(printable("\xE2\x96"), "\\xe2\\x96");                             // cut off
  EXPECT_EQ(printable("aaaaaaaaaa", 4), "aaaa...");
  EXPECT_EQ(printable("aaaa", 4), "aaaa");
}

}  // namespace
}  // namespace thinkey
