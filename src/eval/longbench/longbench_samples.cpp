#include "eval/longbench/longbench_samples.h"

#include <set>
#include <system_error>

#include "base/fail.h"
#include "eval/needle/haystack.h"
#include "eval/run/json_lines.h"
#include "formats/json.h"
#include "formats/text_file.h"

namespace thinkey::eval {
namespace {

constexpr std::size_t kMostConfigBytes = std::size_t{16} << 20U;
constexpr std::size_t kMostNewTokens = std::size_t{1} << 20U;

bool is_file(const std::filesystem::path& path) {
  std::error_code ignored;
  return std::filesystem::is_regular_file(path, ignored);
}

// directory/name or directory/folder/name; empty when neither is there.
std::filesystem::path find(const std::filesystem::path& directory, const char* folder,
                           const std::string& name) {
  for (const auto& path : {directory / name, directory / folder / name}) {
    if (is_file(path)) return path;
  }
  return {};
}

bool is_field(std::string_view name) { return name == "context" || name == "input"; }

// Calls text(part) for literal parts and field(name) for {name}; "{{" and "}}" are braces. False where the
// format is none.
template <typename Text, typename Field>
bool parse_format(std::string_view format, const Text& text, const Field& field) {
  while (!format.empty()) {
    const std::size_t brace = std::min(format.find_first_of("{}"), format.size());
    text(format.substr(0, brace));
    format.remove_prefix(brace);
    if (format.empty()) break;
    if (format.size() > 1 && format[1] == format[0]) {
      text(format.substr(0, 1));
      format.remove_prefix(2);
      continue;
    }
    const std::size_t end = format.find('}');
    if (format[0] == '}' || end == std::string_view::npos) return false;
    if (!field(format.substr(1, end - 1))) return false;
    format.remove_prefix(end + 1);
  }
  return true;
}

std::optional<std::size_t> length_of(const JsonLine& line) {
  const auto found = line.json.find("length");
  if (found == line.json.end() || found->is_null()) return std::nullopt;
  if (!found->is_number_integer() || found->get<double>() < 0 || found->get<double>() > 1e15) {
    line.fail("field \"length\" must be a number of words");
  }
  return found->get<std::size_t>();
}

std::vector<std::string> classes_of(const JsonLine& line, const LongBenchTask& task) {
  const auto found = line.json.find("all_classes");
  if (task.metric != LongBenchMetric::Classification && (found == line.json.end() || found->is_null())) {
    return {};
  }
  return line.texts("all_classes");
}

// References that the task's metric can read.
std::vector<std::string> answers_of(const JsonLine& line, const LongBenchTask& task) {
  std::vector<std::string> answers = line.texts("answers");
  if (answers.empty()) line.fail("field \"answers\" is empty");
  try {
    for (const std::string& answer : answers) {
      if (task.metric == LongBenchMetric::Retrieval) static_cast<void>(retrieval_score("", answer));
      if (task.metric == LongBenchMetric::RetrievalZh) static_cast<void>(retrieval_score_zh("", answer));
    }
  } catch (const Error& error) {
    line.fail(error.what());
  }
  return answers;
}

LongBenchFile read_file_of(const std::filesystem::path& path, const std::string& name, std::size_t limit) {
  const LongBenchTask& task = longbench_task(name);
  LongBenchFile file{.task = name, .samples = {}, .fingerprint = text_fingerprint(read_file(path))};
  std::set<std::string> ids;
  for (const JsonLine& line : read_json_lines(path, limit)) {
    LongBenchSample sample;
    sample.task = name;
    sample.id = line.text("_id");
    if (!ids.insert(sample.id).second) line.fail(fmt::format("_id \"{}\" occurs a second time", sample.id));
    sample.input = line.text("input");
    sample.context = line.text("context");
    sample.answers = answers_of(line, task);
    sample.classes = classes_of(line, task);
    sample.length = length_of(line);
    file.samples.push_back(std::move(sample));
  }
  return file;
}

}  // namespace

std::string LongBenchPrompts::fill(const LongBenchSample& sample) const {
  std::string prompt;
  parse_format(
      prompts.find(longbench_task(sample.task).name)->second, [&](std::string_view text) { prompt += text; },
      [&](std::string_view name) {
        prompt += name == "context" ? sample.context : sample.input;
        return true;
      });
  return prompt;
}

LongBenchPrompts read_longbench_prompts(const std::filesystem::path& directory) {
  LongBenchPrompts out;
  for (const LongBenchTask& task : longbench_tasks()) {
    out.prompts.emplace(task.name, task.prompt);
    out.max_new_tokens.emplace(task.name, task.max_new_tokens);
  }
  if (const auto path = find(directory, "config", "dataset2prompt.json"); !path.empty()) {
    out.official_prompts = true;
    const Json json = read_json_object(path, kMostConfigBytes);
    const JsonView view(json, path);
    for (auto& [name, prompt] : out.prompts) {
      if (const auto text = view.text(name)) prompt = *text;
      if (!parse_format(
              prompt, [](std::string_view) {}, is_field)) {
        view.fail(name, "must be a prompt with the fields {context} and {input}, other braces doubled");
      }
    }
  }
  if (const auto path = find(directory, "config", "dataset2maxlen.json"); !path.empty()) {
    out.official_lengths = true;
    const Json json = read_json_object(path, kMostConfigBytes);
    const JsonView view(json, path);
    for (auto& [name, tokens] : out.max_new_tokens) {
      if (const auto number = view.integer(name)) tokens = *number;
      if (tokens < 1 || tokens > kMostNewTokens) view.fail(name, "must be a number of tokens from 1");
    }
  }
  return out;
}

std::vector<LongBenchFile> read_longbench(const std::filesystem::path& directory,
                                          const std::vector<std::string>& names, bool extended,
                                          std::size_t limit) {
  std::error_code ignored;
  if (!std::filesystem::is_directory(directory, ignored)) {
    fail_data("{}: no such directory; --data is where LongBench's jsonl files are", directory.string());
  }
  const auto file_of = [&](std::string_view name) {
    return std::string(name) + (extended && !name.ends_with("_e") ? "_e" : "");
  };
  std::vector<LongBenchFile> files;
  std::set<std::string> seen;
  for (const std::string& name : names) {
    static_cast<void>(longbench_task(name));
    const std::string task = file_of(name);
    const auto path = find(directory, "data", task + ".jsonl");
    if (path.empty()) fail_data("{}: no such file", (directory / (task + ".jsonl")).string());
    if (!seen.insert(task).second) fail_usage("--tasks names {} twice", task);
    files.push_back(read_file_of(path, task, limit));
  }
  if (!names.empty()) return files;
  for (const LongBenchTask& task : longbench_tasks()) {
    const std::string name = file_of(task.name);
    const auto path = find(directory, "data", name + ".jsonl");
    if (!path.empty()) files.push_back(read_file_of(path, name, limit));
  }
  if (files.empty()) {
    fail_data("{}: none of LongBench's files is there, such as {}", directory.string(),
              file_of(longbench_tasks().front().name) + ".jsonl");
  }
  return files;
}

std::vector<LongBenchPrediction> read_predictions(const LongBenchTask& task,
                                                  const std::filesystem::path& path) {
  std::vector<LongBenchPrediction> predictions;
  for (const JsonLine& line : read_json_lines(path)) {
    LongBenchPrediction prediction;
    prediction.prediction = line.text("pred");
    prediction.answers = answers_of(line, task);
    prediction.classes = classes_of(line, task);
    prediction.length = length_of(line);
    predictions.push_back(std::move(prediction));
  }
  return predictions;
}

}  // namespace thinkey::eval
