#include "eval/run/json_lines.h"

#include <gmock/gmock.h>

#include "eval/ruler/ruler_tasks.h"
#include "eval/run/sweep.h"
#include "support.h"

namespace thinkey::eval::test {
namespace {

using ::testing::HasSubstr;

TEST(JsonLines, ReadsObjectsAndRemembersLines) {
  const Scratch scratch;
  const auto path = scratch.write("f", "{\"a\":\"x\"}\n\n  \r\n{\"a\":\"y\"}");
  const auto lines = read_json_lines(path);
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_EQ(lines[1].text("a"), "y");
  EXPECT_EQ(lines[1].number, 4U);
  EXPECT_EQ(read_json_lines(path, 1).size(), 1U);
}

TEST(JsonLines, NamesFileAndLine) {
  const Scratch scratch;
  const auto error = [&](const std::string& bytes) {
    const auto path = scratch.write("f.jsonl", bytes);
    return error_of([&] {
      for (const JsonLine& line : read_json_lines(path)) {
        static_cast<void>(line.text("a"));
        static_cast<void>(line.texts("b"));
      }
    });
  };
  EXPECT_EQ(error(R"({"a":"x","b":["y"]})"), "");
  EXPECT_THAT(error("{\"a\":\"x\",\"b\":[]}\n{\"a\":"), HasSubstr("f.jsonl: line 2: not valid JSON"));
  EXPECT_THAT(error("[1]"), HasSubstr("f.jsonl: line 1: not a JSON object"));
  EXPECT_THAT(error("\n{\"b\":[]}"), HasSubstr("line 2: field \"a\" is missing"));
  EXPECT_THAT(error("{\"a\":1,\"b\":[]}"), HasSubstr("field \"a\" must be a string, it is number"));
  EXPECT_THAT(error("{\"a\":\"\",\"b\":\"y\"}"), HasSubstr("field \"b\" must be an array of strings"));
  EXPECT_THAT(error("{\"a\":\"\",\"b\":[1]}"), HasSubstr("field \"b\" must hold strings only"));
  EXPECT_THAT(error(" \n"), HasSubstr("f.jsonl: the file is empty"));
}

TEST(JsonLines, PassagesAndPrompts) {
  const Scratch scratch;
  const auto qa = scratch.write("qa", R"({"question":"q","answers":["a"],"passages":["p1","p2"]})");
  EXPECT_EQ(read_passages(qa).front().passages.size(), 2U);
  const auto bad = scratch.write("bad", R"({"question":"q","answers":[],"passages":["p"]})");
  EXPECT_THAT(error_of([&] { static_cast<void>(read_passages(bad)); }),
              HasSubstr("line 1: field \"answers\" is empty"));
  const auto prompts =
      scratch.write("prompts", "{\"prompt\":\"a\"}\n{\"document\":\"d\",\"question\":\"q\"}\n");
  EXPECT_THAT(read_prompts(prompts, 9), ::testing::ElementsAre("a", "d\n\nq"));
  const auto neither = scratch.write("neither", "{\"text\":\"a\"}\n");
  EXPECT_THAT(error_of([&] { static_cast<void>(read_prompts(neither, 9)); }),
              HasSubstr("line 1: field \"prompt\" is missing"));
}

}  // namespace
}  // namespace thinkey::eval::test
