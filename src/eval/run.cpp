#include "eval/run.h"

#include <fmt/format.h>

#include <algorithm>
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

}  // namespace

RunOutcome run(const Task& task, const std::vector<CacheSpec>& specs, ResultFile& file, const Hooks& hooks) {
  std::vector<std::string> names;
  names.reserve(specs.size());
  for (const CacheSpec& spec : specs) names.push_back(spec.to_string());
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
    }
    file.sync();
    ++done;
  }
  if (hooks.run_progress) hooks.run_progress(done, task.samples.size(), found);

  std::map<std::pair<std::string_view, std::string_view>, const Record*> by_pair;
  for (const Record& record : file.records()) by_pair[{record.sample, record.cache}] = &record;
  for (const SampleKey& sample : task.samples) {
    for (const std::string& name : names) {
      const auto found_record = by_pair.find({sample.id, name});
      if (found_record != by_pair.end()) out.records.push_back(*found_record->second);
    }
  }
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
