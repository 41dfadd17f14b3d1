#include "eval/report/report.h"

#include <gmock/gmock.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "eval/report/chart.h"
#include "eval/report/heat_map.h"
#include "eval/report/svg.h"
#include "support.h"

namespace thinkey::eval::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

HeatMap small_map() {
  HeatMap map;
  map.title = "a < b";
  map.row_title = "depth";
  map.column_title = "length";
  map.rows = {"0", "100"};
  map.columns = {"1024", "2048", "4096"};
  map.panels = {{"full", {1, 0.5, 0, 0.25, std::nan(""), 1}}, {"think:0.4,form=paper", {1, 1, 1, 1, 1, 1}}};
  return map;
}

TEST(HeatMap, HasACellPerMeasuredValue) {
  const std::string svg = heat_map_svg(small_map());
  EXPECT_EQ(occurrences(svg, "class=\"cell\""), 11U);
  EXPECT_EQ(occurrences(svg, "class=\"missing\""), 1U);
  EXPECT_THAT(svg, HasSubstr("data-row=\"100\" data-column=\"1024\" data-value=\"0.25\""));
  EXPECT_THAT(svg, HasSubstr("a &lt; b"));
  EXPECT_EQ(occurrences(svg, "<g class=\"panel\""), 2U);
}

// The rotated title of the rows and the title of the columns fit beside one cell.
TEST(HeatMap, TitlesFitBesideOneCell) {
  HeatMap map = small_map();
  map.rows = {"50"};
  map.columns = {"1024"};
  map.row_title = "depth, percent";
  map.column_title = "length in tokens";
  map.panels = {{.title = "full", .values = {0.5}}};
  const std::string svg = heat_map_svg(map);
  const auto attribute = [&](const std::string& name) {
    const std::size_t at = svg.find(name + "=\"", svg.find("class=\"cell\"")) + name.size() + 2;
    return std::stod(svg.substr(at));
  };
  constexpr double kCharacter = 6.0;  // of an 11 px sans-serif
  EXPECT_GE(attribute("height"), kCharacter * static_cast<double>(map.row_title.size()));
  EXPECT_GE(attribute("width"), kCharacter * static_cast<double>(map.column_title.size()));
}

TEST(HeatMap, RefusesAPanelOfTheWrongSize) {
  HeatMap map = small_map();
  map.panels[1].values.pop_back();
  EXPECT_THAT(error_of([&] { static_cast<void>(heat_map_svg(map)); }),
              HasSubstr("5 values for 2 rows and 3 columns"));
  map = small_map();
  map.high = map.low;
  EXPECT_THAT(error_of([&] { static_cast<void>(heat_map_svg(map)); }), HasSubstr("is empty"));
}

TEST(Chart, DrawsWhatCanBeDrawn) {
  const Chart chart{
      .title = "t",
      .x_title = "x",
      .y_title = "y",
      .series = {{"s",
                  {{1, 0.5, "p"}, {10, 0, "q"}, {0, 1, "no place on a log axis"}, {5, std::nan(""), ""}}}},
      .log_x = true,
      .log_y = true};
  const std::string svg = chart_svg(chart);
  EXPECT_EQ(occurrences(svg, "class=\"point\""), 2U);
  EXPECT_THAT(svg, HasSubstr("data-x=\"10\" data-y=\"0\""));
  EXPECT_EQ(occurrences(svg, "<polyline"), 1U);
  EXPECT_EQ(occurrences(svg, "nan"), 0U);
  EXPECT_THAT(chart_svg(Chart{}), HasSubstr("</svg>"));
}

TEST(Axis, PlacesAndTicks) {
  const Axis linear{.low = 0, .high = 100, .from = 0, .to = 200};
  EXPECT_EQ(linear.place(50), 100);
  EXPECT_THAT(linear.ticks(), ElementsAre(0, 20, 40, 60, 80, 100));
  const Axis logarithmic{.low = 1, .high = 100, .from = 100, .to = 0, .logarithmic = true};
  EXPECT_NEAR(logarithmic.place(10), 50, 1e-9);
  EXPECT_THAT(logarithmic.ticks(), ElementsAre(1, 2, 5, 10, 20, 50, 100));
}

TEST(Colours, ScaleEndsDifferAndDarkOnesAreKnown) {
  EXPECT_NE(scale_colour(ColourScale::Score, 0), scale_colour(ColourScale::Score, 1));
  EXPECT_EQ(scale_colour(ColourScale::Magnitude, -3), scale_colour(ColourScale::Magnitude, 0));
  EXPECT_TRUE(is_dark(ColourScale::Magnitude, 1));
  EXPECT_FALSE(is_dark(ColourScale::Magnitude, 0));
}

Report small_report() {
  Report report;
  report.title = "Title & more";
  report.add_text("Once <b>only</b>.");
  report.add_table("scores", {{"cache", "score"}, {"full", Cell("33.3 %", 1.0 / 3.0)}});
  report.add_figure(heat_map_svg(small_map()), "caption");
  report.json = nlohmann::json{{"text", "</script><!--"}, {"x", 1.0 / 3.0}}.dump();
  return report;
}

TEST(Report, TextHasTextsAndTables) {
  EXPECT_EQ(report_text(small_report()),
            "Title & more\n\nOnce <b>only</b>.\n\nscores\n  cache   score\n  full   33.3 %\n");
}

TEST(Report, PageNeedsNothingElse) {
  const std::string html = report_html(small_report());
  EXPECT_THAT(html, HasSubstr("<td data-value=\"0.3333333333333333\">33.3 %</td>"));
  EXPECT_THAT(html, HasSubstr("Once &lt;b&gt;only"));
  EXPECT_THAT(html, HasSubstr("<figcaption>caption"));
  for (const char* fetched : {"src=", "href=", "url(", "@import", "http-equiv"})
    EXPECT_THAT(html, Not(HasSubstr(fetched)));
  EXPECT_EQ(occurrences(html, "http"), occurrences(html, "xmlns=\"http://www.w3.org/2000/svg\""));
}

TEST(Report, EmbeddedJsonCannotEndItsElement) {
  const Report report = small_report();
  const std::string html = report_html(report);
  EXPECT_EQ(occurrences(html, "</script>"), 1U);
  const std::size_t from = html.find("id=\"data\">") + 10;
  EXPECT_EQ(nlohmann::json::parse(html.substr(from, html.find("</script>") - from)),
            nlohmann::json::parse(report.json));
}

TEST(Report, MarkdownTable) {
  const Report report = small_report();
  EXPECT_EQ(markdown_table(std::get<TableBlock>(report.blocks[1])),
            "| cache | score |\n| --- | ---: |\n| full | 33.3 % |\n");
  EXPECT_EQ(report_markdown(report), "scores\n\n| cache | score |\n| --- | ---: |\n| full | 33.3 % |\n");
}

TEST(ExactNumber, ReadsBack) {
  for (const double x : {0.1, 1.0 / 3.0, 1e-300, 12345678.0, -2.5}) EXPECT_EQ(std::stod(exact_number(x)), x);
  EXPECT_EQ(exact_number(std::nan("")), "");
}

}  // namespace
}  // namespace thinkey::eval::test
