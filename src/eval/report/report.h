// A report: said once, shown as text on a terminal and as one HTML page that needs nothing else.
#pragma once

#include <limits>
#include <string>
#include <variant>
#include <vector>

namespace thinkey::eval {

// A table's cell; `value`, where it shows a number, is what the text was rounded from.
struct Cell {
  Cell(const char* shown) : text(shown) {}             // NOLINT(google-explicit-constructor)
  Cell(std::string shown) : text(std::move(shown)) {}  // NOLINT(google-explicit-constructor)
  Cell(std::string shown, double number) : text(std::move(shown)), value(number) {}

  std::string text;
  double value = std::numeric_limits<double>::quiet_NaN();
};

struct TableBlock {
  std::string caption;
  std::vector<std::vector<Cell>> rows;  // rows[0] is the header
};
struct FigureBlock {
  std::string svg;
  std::string caption;
};
struct TextBlock {
  std::string text;
};

struct Report {
  std::string title;
  std::vector<std::variant<TextBlock, TableBlock, FigureBlock>> blocks;
  std::string json;  // the report's figures; also inside the page, as element "data"

  void add_text(std::string text) { blocks.emplace_back(TextBlock{std::move(text)}); }
  void add_table(std::string caption, std::vector<std::vector<Cell>> rows) {
    blocks.emplace_back(TableBlock{std::move(caption), std::move(rows)});
  }
  void add_figure(std::string svg, std::string caption = {}) {
    blocks.emplace_back(FigureBlock{std::move(svg), std::move(caption)});
  }
};

// Texts and tables; figures are left out.
[[nodiscard]] std::string report_text(const Report& report);

// One page: no script runs, nothing is fetched. Cells with a number have a data-value attribute.
[[nodiscard]] std::string report_html(const Report& report);

// The tables as Markdown, for documents.
[[nodiscard]] std::string report_markdown(const Report& report);
[[nodiscard]] std::string markdown_table(const TableBlock& table);

}  // namespace thinkey::eval
