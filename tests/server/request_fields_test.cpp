#include "server/request_fields.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace thinkey::server {
namespace {

using ::testing::HasSubstr;

template <typename Call>
std::string refusal(Call&& call) {
  try {
    call();
  } catch (const ApiError& error) {
    EXPECT_EQ(error.status, 400);
    return error.what();
  }
  return "taken";
}

TEST(Body, MustBeSoundJson) {
  EXPECT_THAT(refusal([] { (void)parse_body("{\"a\":"); }), HasSubstr("not JSON"));
  EXPECT_THAT(refusal([] { (void)parse_body("[1]"); }), HasSubstr("object"));
  EXPECT_THAT(refusal([] { (void)parse_body("{\"a\":1,\"b\":{\"a\":1},\"a\":2}"); }),
              HasSubstr("\"a\" occurs twice"));
  EXPECT_THAT(refusal([] { (void)parse_body("{\"a\":\"\xFF\"}"); }), HasSubstr("not JSON"));
  EXPECT_THAT(refusal([] { (void)parse_body("{\"a\":" + std::string(10000, '[')); }), HasSubstr("nested"));
  EXPECT_EQ(refusal([] { (void)parse_body(R"({"a":[{"x":1},{"x":2}]})"); }), "taken");
}

TEST(Body, WordsOfAnotherTypeSayNothing) {
  const OrderedJson body = OrderedJson::parse(R"({"type":1,"role":"user","none":null})");
  EXPECT_FALSE(says(body, "type", "function"));
  EXPECT_FALSE(says(body, "none", ""));
  EXPECT_FALSE(says(body, "absent", ""));
  EXPECT_TRUE(says(body, "role", "user"));
}

TEST(Fields, AreReadOrRefusedByName) {
  const OrderedJson body = OrderedJson::parse(
      R"({"n":3,"x":1.5,"whole":16.0,"yes":true,"word":"hi","none":null,"stop":["a","b"],"big":18446744073709551615,"extra":1})");
  RequestFields fields(body);
  EXPECT_EQ(fields.integer("n", 1, 5), 3);
  EXPECT_EQ(fields.integer("whole", 1, 50), 16);
  EXPECT_EQ(fields.number("x", 0, 2), 1.5);
  EXPECT_EQ(fields.boolean("yes"), true);
  EXPECT_EQ(fields.text("word"), "hi");
  EXPECT_FALSE(fields.integer("none", 0, 1));
  EXPECT_FALSE(fields.integer("absent", 0, 1));
  EXPECT_EQ(fields.texts("stop", 2).size(), 2U);
  EXPECT_THAT(refusal([&] { (void)fields.integer("x", 0, 5); }), HasSubstr("\"x\" must be a whole number"));
  EXPECT_THAT(refusal([&] { (void)fields.integer("n", 4, 5); }), HasSubstr("4 to 5"));
  EXPECT_THAT(refusal([&] { (void)fields.integer("big", 0, 5); }), HasSubstr("big"));
  EXPECT_THAT(refusal([&] { (void)fields.number("x", 0, 1); }), HasSubstr("must be 0 to 1"));
  EXPECT_THAT(refusal([&] { (void)fields.text("n"); }), HasSubstr("string"));
  EXPECT_THAT(refusal([&] { (void)fields.texts("stop", 1); }), HasSubstr("more than 1"));
  EXPECT_THAT(refusal([&] { fields.finish(); }), HasSubstr("\"extra\" is not a field"));
  fields.ignore({"extra"});
  EXPECT_EQ(refusal([&] { fields.finish(); }), "taken");
}

}  // namespace
}  // namespace thinkey::server
