#include "eval/run/run.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "base/fail.h"
#include "engine/model_impl.h"

namespace thinkey::eval {
namespace {

void check(const Task& task, const std::vector<std::string>& names) {
  if (names.empty()) fail_usage("no cache spec to evaluate; give at least one --cache");
  if (task.samples.empty()) fail_usage("there are no samples to evaluate");
  if (std::set<std::string>(names.begin(), names.end()).size() != names.size()) {
    for (std::size_t i = 0; i < names.size(); ++i) {
      if (std::find(names.begin() + static_cast<std::ptrdiff_t>(i) + 1, names.end(), names[i]) !=
          names.end()) {
        fail_usage("--cache {} is given twice", names[i]);
      }
    }
  }
}

// A NaN in a result is no result: a mean over it would say nothing, or be drawn as if it were good.
bool is_finite(const Record& record) {
  return std::all_of(record.values.begin(), record.values.end(),
                     [](const auto& value) { return std::isfinite(value.second); });
}

void require_numbers(const Record& record) {
  for (const auto& [name, value] : record.values) {
    if (!std::isfinite(value)) throw NonFiniteError(fmt::format("its \"{}\" is {}", name, value));
  }
}

std::vector<std::string> names_of(const std::vector<CacheSpec>& specs) {
  std::vector<std::string> names;
  names.reserve(specs.size());
  for (const CacheSpec& spec : specs) names.push_back(spec.to_string());
  return names;
}

// The file's records of the task, in the order of its samples and of the specs.
std::vector<Record> records_of(const Task& task, const std::vector<std::string>& names,
                               const ResultFile& file, bool whole_samples) {
  std::map<std::pair<std::string_view, std::string_view>, const Record*> by_pair;
  for (const Record& record : file.records()) by_pair[{record.sample, record.cache}] = &record;
  std::vector<Record> out;
  for (const SampleKey& sample : task.samples) {
    std::vector<Record> own;
    for (const std::string& name : names) {
      const auto found = by_pair.find({sample.id, name});
      if (found != by_pair.end()) own.push_back(*found->second);
    }
    if (whole_samples && (own.size() < names.size() || !std::all_of(own.begin(), own.end(), is_finite)))
      continue;
    std::move(own.begin(), own.end(), std::back_inserter(out));
  }
  return out;
}

}  // namespace

RunOutcome run(const Task& task, const std::vector<CacheSpec>& specs, ResultFile& file, const Hooks& hooks) {
  const std::vector<std::string> names = names_of(specs);
  check(task, names);

  RunOutcome out;
  std::vector<std::vector<std::size_t>> missing(task.samples.size());  // specs to do, per sample
  std::size_t done = 0;
  for (std::size_t s = 0; s < task.samples.size(); ++s) {
    for (std::size_t c = 0; c < specs.size(); ++c) {
      if (!file.has(task.samples[s].id, names[c])) missing[s].push_back(c);
    }
    out.resumed += specs.size() - missing[s].size();
    done += missing[s].empty() ? 1 : 0;
  }
  const std::size_t found = done;  // whole samples that need no work

  for (std::size_t s = 0; s < task.samples.size(); ++s) {
    if (missing[s].empty()) continue;
    if (hooks.checkpoint) hooks.checkpoint();
    if (hooks.run_progress) hooks.run_progress(done, task.samples.size(), found);
    std::vector<CacheSpec> wanted;
    for (const std::size_t c : missing[s]) wanted.push_back(specs[c]);
    try {
      task.measure(s, wanted, hooks, [&](std::size_t spec, Record record) {
        require_numbers(record);
        record.sample = task.samples[s].id;
        record.cache = names[missing[s][spec]];
        record.labels = task.samples[s].labels;
        file.append(std::move(record));
      });
    } catch (const SampleSkipped& skipped) {
      out.skipped.emplace_back(task.samples[s].id, skipped.what());
      if (hooks.warn) {
        hooks.warn(fmt::format("sample {} is left out: {}", task.samples[s].id, skipped.what()));
      }
    } catch (const NonFiniteError& error) {
      ++out.non_finite;
      out.skipped.emplace_back(task.samples[s].id, error.what());
      if (hooks.warn) hooks.warn(fmt::format("sample {} is refused: {}", task.samples[s].id, error.what()));
    }
    file.sync();
    ++done;
  }
  if (hooks.run_progress) hooks.run_progress(done, task.samples.size(), found);

  // An older version of this program may have written what is no number.
  for (Record& record : records_of(task, names, file, false)) {
    if (is_finite(record)) {
      out.records.push_back(std::move(record));
    } else {
      ++out.non_finite;
      out.skipped.emplace_back(record.sample,
                               "its result in the file is not finite; --fresh measures it again");
    }
  }
  return out;
}

RunOutcome complete_part(const Task& task, const std::vector<CacheSpec>& specs, const ResultFile& file) {
  RunOutcome out;
  out.partial = true;
  out.records = records_of(task, names_of(specs), file, true);
  return out;
}

RunIdentity identify(const Task& task, const Model& model) {
  auto settings = nlohmann::ordered_json::parse(task.settings);
  settings["prefill"] = model.info().prefill_arithmetic;
  settings["decode"] = model.info().decode_arithmetic;
  return {.task = task.name,
          .model = model.info().name,
          .weights = fmt::format("{:016x}", ModelAccess::impl(model).fingerprint()),
          .settings = settings.dump()};
}

}  // namespace thinkey::eval
