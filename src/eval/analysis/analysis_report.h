// An analysis as tables, figures and JSON.
#pragma once

#include <cstddef>
#include <vector>

#include "eval/analysis/analysis.h"
#include "eval/report/report.h"

namespace thinkey::eval {

// `layers`: those whose channels and energy curves the figures show; empty: as many, evenly spread, as a page
// can hold. Tables and JSON have all. Error(Usage) for a layer the model does not have.
[[nodiscard]] Report analysis_report(const Analysis& analysis, std::vector<std::size_t> layers = {});

}  // namespace thinkey::eval
