// The summary as a JSON object that a report may add to. For .cpp files.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "eval/run/run.h"

namespace thinkey::eval {

[[nodiscard]] nlohmann::ordered_json summary_object(const RunIdentity& identity, const RunOutcome& outcome);

// With two spaces of indentation and a final newline; NaN becomes null.
[[nodiscard]] std::string json_text(const nlohmann::ordered_json& json);

}  // namespace thinkey::eval
