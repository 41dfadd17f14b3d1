#include "eval/report/report.h"

#include <fmt/format.h>

#include <cmath>

#include "base/format_text.h"
#include "eval/report/svg.h"

namespace thinkey::eval {
namespace {

constexpr const char* kStyle =
    "body{font:15px/1.5 sans-serif;max-width:1180px;margin:2em auto;padding:0 1em;color:#222}"
    "h1{font-size:1.5em}table{border-collapse:collapse;margin:1em 0}caption{text-align:left;font-weight:bold;"
    "padding:.3em 0}th,td{padding:.2em .7em;border-bottom:1px solid #ddd;text-align:right}"
    "th:first-child,td:first-child{text-align:left}th{background:#f4f4f4}"
    "td:first-child{font-family:monospace;font-size:13px}figure{margin:1.5em 0;overflow-x:auto}"
    "figcaption{color:#555;font-size:13px}";

std::string html_table(const TableBlock& table) {
  std::string html = "<table>\n";
  if (!table.caption.empty()) html += fmt::format("<caption>{}</caption>\n", escape_xml(table.caption));
  for (std::size_t r = 0; r < table.rows.size(); ++r) {
    html += "<tr>";
    for (const Cell& cell : table.rows[r]) {
      const char* tag = r == 0 ? "th" : "td";
      const std::string value =
          std::isnan(cell.value) ? "" : fmt::format(" data-value=\"{}\"", exact_number(cell.value));
      html += fmt::format("<{0}{1}>{2}</{0}>", tag, value, escape_xml(cell.text));
    }
    html += "</tr>\n";
  }
  return html + "</table>\n";
}

// Inside a script element only "</" would end it; in JSON strings "<\/" is the same.
std::string embedded(std::string json) {
  for (std::size_t at = json.find("</"); at != std::string::npos; at = json.find("</", at + 3)) {
    json.insert(at + 1, "\\");
  }
  for (std::size_t at = json.find("<!"); at != std::string::npos; at = json.find("<!", at)) {
    json.replace(at, 1, "\\u003c");
  }
  return json;
}

std::vector<std::vector<std::string>> texts(const TableBlock& table) {
  std::vector<std::vector<std::string>> rows;
  for (const auto& row : table.rows) {
    auto& out = rows.emplace_back();
    for (const Cell& cell : row) out.push_back(cell.text);
  }
  return rows;
}

template <typename... Functions>
struct Overloaded : Functions... {
  using Functions::operator()...;
};
template <typename... Functions>
Overloaded(Functions...) -> Overloaded<Functions...>;

}  // namespace

std::string report_text(const Report& report) {
  std::string text = report.title + "\n";
  for (const auto& block : report.blocks) {
    text += std::visit(Overloaded{[](const TextBlock& b) { return "\n" + b.text + "\n"; },
                                  [](const TableBlock& b) {
                                    return "\n" + (b.caption.empty() ? "" : b.caption + "\n") +
                                           format_table(texts(b), 2);
                                  },
                                  [](const FigureBlock&) { return std::string(); }},
                       block);
  }
  return text;
}

std::string report_html(const Report& report) {
  std::string html = fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>{0}</title>\n"
      "<style>{1}</style>\n</head>\n<body>\n<h1>{0}</h1>\n",
      escape_xml(report.title), kStyle);
  for (const auto& block : report.blocks) {
    html += std::visit(
        Overloaded{[](const TextBlock& b) { return fmt::format("<p>{}</p>\n", escape_xml(b.text)); },
                   [](const TableBlock& b) { return html_table(b); },
                   [](const FigureBlock& b) {
                     return fmt::format("<figure>\n{}{}</figure>\n", b.svg,
                                        b.caption.empty() ? ""
                                                          : fmt::format("<figcaption>{}</figcaption>\n",
                                                                        escape_xml(b.caption)));
                   }},
        block);
  }
  if (!report.json.empty()) {
    html +=
        fmt::format("<script type=\"application/json\" id=\"data\">\n{}</script>\n", embedded(report.json));
  }
  return html + "</body>\n</html>\n";
}

std::string report_markdown(const Report& report) {
  std::string text;
  for (const auto& block : report.blocks) {
    const auto* table = std::get_if<TableBlock>(&block);
    if (table == nullptr) continue;
    text += (text.empty() ? "" : "\n") + (table->caption.empty() ? "" : table->caption + "\n\n") +
            markdown_table(*table);
  }
  return text;
}

std::string markdown_table(const TableBlock& table) {
  std::string out;
  for (std::size_t r = 0; r < table.rows.size(); ++r) {
    out += "|";
    for (const Cell& cell : table.rows[r]) out += " " + cell.text + " |";
    out += "\n";
    if (r > 0) continue;
    out += "| --- |";
    for (std::size_t i = 1; i < table.rows[r].size(); ++i) out += " ---: |";
    out += "\n";
  }
  return out;
}

}  // namespace thinkey::eval
