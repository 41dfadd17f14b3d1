#include "eval/run/json_lines.h"

#include "base/fail.h"
#include "formats/json_bounds.h"
#include "formats/text_file.h"

namespace thinkey::eval {

void JsonLine::fail(std::string_view reason) const {
  fail_data("{}: line {}: {}", path.string(), number, reason);
}

const nlohmann::ordered_json& JsonLine::at(const std::string& key) const {
  const auto found = json.find(key);
  if (found == json.end()) fail(fmt::format("field \"{}\" is missing", key));
  return *found;
}

std::string JsonLine::text(const std::string& key) const {
  const auto& value = at(key);
  if (!value.is_string()) {
    fail(fmt::format("field \"{}\" must be a string, it is {}", key, value.type_name()));
  }
  return value.get<std::string>();
}

std::vector<std::string> JsonLine::texts(const std::string& key) const {
  const auto& value = at(key);
  std::vector<std::string> out;
  if (value.is_array()) {
    for (const auto& item : value) {
      if (!item.is_string()) fail(fmt::format("field \"{}\" must hold strings only", key));
      out.push_back(item.get<std::string>());
    }
    return out;
  }
  fail(fmt::format("field \"{}\" must be an array of strings, it is {}", key, value.type_name()));
}

double JsonLine::real(const std::string& key, double absent) const {
  const auto found = json.find(key);
  if (found == json.end()) return absent;
  if (!found->is_number()) {
    fail(fmt::format("field \"{}\" must be a number, it is {}", key, found->type_name()));
  }
  return found->get<double>();
}

std::vector<JsonLine> read_json_lines(const std::filesystem::path& path, std::size_t limit) {
  const std::string bytes = read_file(path);
  std::vector<JsonLine> lines;
  std::size_t number = 0;
  for (std::size_t at = 0; at < bytes.size() && lines.size() < limit;) {
    const std::size_t end = std::min(bytes.find('\n', at), bytes.size());
    const std::string_view line = std::string_view(bytes).substr(at, end - at);
    at = end + 1;
    ++number;
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    JsonLine parsed{{}, path, number};
    if (const std::string excess = json_excess(line); !excess.empty()) parsed.fail(excess);
    parsed.json = nlohmann::ordered_json::parse(line, nullptr, false);
    if (parsed.json.is_discarded()) parsed.fail("not valid JSON");
    if (!parsed.json.is_object()) parsed.fail("not a JSON object");
    lines.push_back(std::move(parsed));
  }
  if (lines.empty()) fail_data("{}: the file is empty; it must hold one JSON object per line", path.string());
  return lines;
}

}  // namespace thinkey::eval
