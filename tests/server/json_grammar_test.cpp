// Which texts the grammar of a schema takes, and which schemas are refused.
#include "server/schema/json_grammar.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace thinkey::server {
namespace {

using ::testing::HasSubstr;

// A text is taken if the automaton may end after it.
class Language {
 public:
  explicit Language(const std::string& schema) {
    Grammar grammar;
    JsonGrammar json(grammar);
    const Grammar::Rule start =
        schema == "object" ? json.any_object() : json.schema(OrderedJson::parse(schema), "schema");
    automaton_ = std::make_unique<GrammarAutomaton>(std::move(grammar), start);
  }
  bool takes(std::string_view text) {
    const auto state = automaton_->next(automaton_->start(), text);
    return state != GrammarAutomaton::kDead && automaton_->accepts(state);
  }

 private:
  std::unique_ptr<GrammarAutomaton> automaton_;
};

void check(const std::string& schema, const std::vector<std::string>& good,
           const std::vector<std::string>& bad) {
  Language language(schema);
  for (const std::string& text : good) EXPECT_TRUE(language.takes(text)) << schema << " should take " << text;
  for (const std::string& text : bad)
    EXPECT_FALSE(language.takes(text)) << schema << " should refuse " << text;
}

TEST(JsonGrammar, AnyObject) {
  check("object",
        {"{}", "{ }", R"({"a": 1})", R"({"a":[1,2,{"b":null}],"c":"x\n\u00e9","d":-1.5e-3})",
         "{\n  \"a\": true\n}", "{\"\xC3\xA9\": \"\xF0\x9F\x98\x80\"}", R"({"s":"\ud83d\ude00"})"},
        {"[]", "1", "{", R"({"a"})", R"({"a":1,})", R"({"a":01})", R"({"a":.5})", R"({"a":"\x"})", R"({a:1})",
         "{\"a\":\"\xC3\"}", "{\"a\":\"\xED\xA0\x80\"}", R"({"s":"\ud83d"})", R"({"a":"
"})",
         R"({"a":1} )", "{\n\n\"a\":1}"});
}

TEST(JsonGrammar, Scalars) {
  check(R"({"type":"string","minLength":2,"maxLength":3})", {R"("ab")", R"("abc")", "\"\xC3\xA9\xC3\xA9\""},
        {R"("a")", R"("abcd")", "ab", "\"\xC3\xA9\""});
  check(R"({"type":["integer","null"]})", {"0", "-5", "12", "null"}, {"1.5", "01", "-0", "\"1\""});
  check(R"({"enum":["red",3,null,{"a":[1]}]})", {"\"red\"", "3", "null", R"({"a":[1]})"}, {"\"blue\"", "4"});
  check(R"({"const":"x\"y"})", {R"("x\"y")"}, {"\"x\""});
  check(R"({"type":"boolean","description":"yes or no"})", {"true", "false"}, {"null", "True"});
  check("{}", {"1", "[]", "{\"a\":2}", "\"x\"", "null"}, {"", "nul"});
}

// Every whole number around the bounds, against arithmetic.
TEST(JsonGrammar, IntegerBounds) {
  const std::pair<int, int> ranges[] = {{0, 9},      {3, 3},     {5, 123}, {-7, 12},
                                        {-250, -31}, {99, 1001}, {-1, 0},  {0, 100}};
  for (const auto& [least, most] : ranges) {
    Language language(fmt::format(R"({{"type":"integer","minimum":{},"maximum":{}}})", least, most));
    for (int i = -1300; i <= 1300; ++i) {
      EXPECT_EQ(language.takes(std::to_string(i)), i >= least && i <= most)
          << least << ".." << most << ": " << i;
    }
  }
  Language open(R"({"type":"integer","exclusiveMinimum":17})");
  for (int i = -30; i <= 300; ++i) EXPECT_EQ(open.takes(std::to_string(i)), i > 17) << i;
  EXPECT_TRUE(open.takes("123456789012"));
  Language below(R"({"type":"integer","exclusiveMaximum":-5})");
  for (int i = -300; i <= 30; ++i) EXPECT_EQ(below.takes(std::to_string(i)), i < -5) << i;
}

TEST(JsonGrammar, NumberBounds) {
  check(R"({"type":"number","minimum":0,"maximum":1})", {"0", "1", "0.5", "0.001"},
        {"1.5", "2", "-0.5", "1e5"});
  check(R"({"type":"number","exclusiveMinimum":0,"exclusiveMaximum":10})", {"0.1", "9.99", "5"},
        {"0", "10", "0.0", "-1", "10.5"});
  check(R"({"type":"number","minimum":-2,"maximum":-1})", {"-1", "-2", "-1.5"}, {"-0.5", "-2.5", "1.5", "0"});
  check(R"({"type":"number","minimum":-1})", {"-1", "-0.25", "0", "3.5", "100"}, {"-1.5", "-2"});
}

TEST(JsonGrammar, Arrays) {
  check(R"({"type":"array","items":{"type":"integer"},"minItems":1,"maxItems":3})",
        {"[1]", "[1, 2]", "[1,2,3]"}, {"[]", "[1,2,3,4]", "[\"a\"]", "[1,]"});
  check(R"({"type":"array","maxItems":0})", {"[]"}, {"[1]"});
}

TEST(JsonGrammar, Objects) {
  const char* schema = R"({"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"string"},
      "c":{"type":"boolean"}},"required":["b"],"additionalProperties":false})";
  check(
      schema,
      {R"({"b":"x"})", R"({"a":1,"b":"x"})", R"({"a": 1, "b": "x", "c": true})", R"({"b":"","c":false})",
       "{\n  \"b\": \"x\"\n}"},
      {"{}", R"({"a":1})", R"({"b":1})", R"({"b":"x","a":1})", R"({"b":"x","d":1})", R"({"a":1,,"b":"x"})"});
  check(R"({"type":"object","additionalProperties":{"type":"integer"}})", {"{}", R"({"x":1,"y":2})"},
        {R"({"x":"1"})"});
  check(R"({"type":"object","properties":{"a":{"type":"null"}}})", {"{}", R"({"a":null})"}, {R"({"b":1})"});
  check(R"({"type":"object","properties":{},"additionalProperties":false})", {"{}"}, {R"({"a":1})"});
  check(R"({"required":["z"],"properties":{}})", {R"({"z":[1]})"}, {"{}"});
}

TEST(JsonGrammar, References) {
  check(R"({"$defs":{"node":{"type":"object","properties":{"v":{"type":"integer"},"next":{"anyOf":[
      {"$ref":"#/$defs/node"},{"type":"null"}]}},"required":["v","next"]}},"$ref":"#/$defs/node"})",
        {R"({"v":1,"next":null})", R"({"v":1,"next":{"v":2,"next":{"v":3,"next":null}}})"},
        {R"({"v":1})", R"({"v":1,"next":{"v":2}})"});
  check(
      R"({"type":"object","properties":{"a":{"allOf":[{"$ref":"#/$defs/s"}],"description":"one"}},"required":["a"],
      "$defs":{"s":{"type":"string"}}})",
      {R"({"a":"x"})"}, {R"({"a":1})"});
}

TEST(JsonGrammar, HasABound) {
  const auto compile = [](const OrderedJson& schema) {
    Grammar grammar;
    JsonGrammar json(grammar);
    static_cast<void>(json.schema(schema, "schema"));
  };
  EXPECT_THROW(compile({{"const", std::string(2 << 20U, 'x')}}), GrammarError);
  OrderedJson many = {{"anyOf", OrderedJson::array()}};
  for (int i = 0; i < 200; ++i)
    many["anyOf"].push_back({{"type", "string"}, {"minLength", i}, {"maxLength", 4096}});
  EXPECT_THROW(compile(many), GrammarError);
}

TEST(JsonGrammar, RefusesByName) {
  const std::pair<const char*, const char*> cases[] = {
      {R"({"type":"string","pattern":"a+"})", "\"pattern\""},
      {R"({"type":"string","format":"date"})", "\"format\""},
      {R"({"type":"object","properties":{"x":{"type":"array","uniqueItems":true}}})", "schema.properties.x"},
      {R"({"oneOf":[{"type":"null"}]})", "\"oneOf\""},
      {R"({"not":{}})", "\"not\""},
      {R"({"type":"object","patternProperties":{}})", "\"patternProperties\""},
      {R"({"type":"number","multipleOf":2})", "\"multipleOf\""},
      {R"({"type":"number","minimum":0.5})", "minimum"},
      {R"({"type":"thing"})", "\"thing\""},
      {R"({"$ref":"http://example.org/x"})", "$ref"},
      {R"({"$ref":"#/nowhere"})", "nowhere"},
      {R"({"$ref":"#"})", "refers to itself"},
      {R"({"anyOf":[{"type":"object","properties":{"p":{"$ref":"#/$defs/b"}}},{"$ref":"#/$defs/b"}],
        "$defs":{"b":{"anyOf":[{"$ref":"#"},{"type":"null"}]}}})",
       "refers to itself"},
      {R"({"allOf":[{},{}]})", "allOf"},
      {R"({"minLength":1})", "\"minLength\""},
      {R"({"type":"integer","minimum":5,"maximum":4})", "leave nothing"},
      {R"({"type":"string","maxLength":100000})", "maxLength"},
      {R"({"anyOf":[]})", "anyOf"},
      {"false", "schema"},
  };
  for (const auto& [schema, word] : cases) {
    try {
      Language language{std::string(schema)};
      ADD_FAILURE() << schema << " was taken";
    } catch (const ApiError& error) {
      EXPECT_EQ(error.status, 400);
      EXPECT_THAT(error.what(), HasSubstr(word)) << schema;
    }
  }
}

// Deep nesting grows the automaton by what is read, not more.
TEST(JsonGrammar, FollowsDeepNesting) {
  Language language("{}");
  EXPECT_TRUE(language.takes(std::string(2000, '[') + std::string(2000, ']')));
  EXPECT_FALSE(language.takes(std::string(2000, '[') + std::string(1999, ']')));
}

}  // namespace
}  // namespace thinkey::server
