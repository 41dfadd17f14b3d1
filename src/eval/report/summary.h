// Records grouped into means, and those into tables, figures and JSON: what every evaluation's report starts
// with.
#pragma once

#include <cstddef>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "eval/report/heat_map.h"
#include "eval/report/report.h"
#include "eval/run/run.h"

namespace thinkey::eval {

// The distinct values of a label (or "" for the caches), in order of their first occurrence.
[[nodiscard]] std::vector<std::string> label_values(const std::vector<Record>& records,
                                                    std::string_view label);
[[nodiscard]] std::vector<std::string> cache_names(const std::vector<Record>& records);

// A spec without its first stage's parameters, "snapkv+think:0.4": what differs in budget only, for a chart's
// lines.
[[nodiscard]] std::string family_of(const std::string& cache);

// Which records a mean is over: empty fields and labels that are not named match all.
struct Selection {
  std::string cache;
  Labels labels;

  [[nodiscard]] bool matches(const Record& record) const;
};

struct Mean {
  double value = 0.0;  // NaN when there are no records
  std::size_t count = 0;
  double error = 0.0;  // standard error of the mean; 0 for one record
};
[[nodiscard]] Mean mean_of(const std::vector<Record>& records, const Selection& selection,
                           std::string_view value);

// The 95 % interval of a mean of samples in [0, 1] (Wilson's score interval; where samples may lie between,
// it is wider than need be).
[[nodiscard]] std::pair<double, double> share_interval(const Mean& mean);

// Sum of the value over the records selected that have it.
[[nodiscard]] double sum_of(const std::vector<Record>& records, const Selection& selection,
                            std::string_view value);

// A cell "97.5 %" for a share.
[[nodiscard]] Cell percent_cell(double share, int decimals = 1);
// A cell with that many decimals; "-" for NaN.
[[nodiscard]] Cell number_cell(double value, int decimals);

// One row per cache: score in percent with its interval, mean bytes, share of the full cache, decode time per
// token.
[[nodiscard]] TableBlock cache_table(const std::vector<Record>& records, const std::string& score_title);

// Rows: caches. Columns: the label's values, then the mean of those columns. Cells: mean score in percent.
[[nodiscard]] TableBlock score_table(const std::vector<Record>& records, std::string_view label,
                                     const std::string& caption);

// A panel per cache of mean scores over two labels; rows and columns in order of occurrence.
[[nodiscard]] HeatMap score_heat_map(const std::vector<Record>& records, std::string_view row_label,
                                     std::string_view column_label, const std::string& title);

// {"task", "model", "weights", "settings", "caches": [{"cache", mean of every value, "samples",
// "share_of_full", "groups": [{labels, means, "samples"}]}], "skipped": [...]} as text; a group is a
// combination of labels.
[[nodiscard]] std::string summary_json(const RunIdentity& identity, const RunOutcome& outcome);

// What reports of scores begin with: title, model, the table over caches, and one by each label with its
// caption; and their JSON.
[[nodiscard]] Report score_report(const std::string& title, const RunIdentity& identity,
                                  const RunOutcome& outcome,
                                  std::initializer_list<std::pair<std::string_view, const char*>> labels);

// A paragraph about the model and the settings, and one about skipped samples, if any.
void describe_run(Report& report, const RunIdentity& identity, const RunOutcome& outcome);

}  // namespace thinkey::eval
