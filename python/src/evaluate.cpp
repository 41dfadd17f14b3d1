// The evaluations of `thinkey eval` (src/eval), as thinkey.evaluate calls them.
#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <functional>
#include <limits>

#include "binding.h"
#include "eval/longbench/longbench.h"
#include "eval/needle/needle.h"
#include "eval/run/run.h"
#include "eval/text/perplexity.h"
#include "thinkey/error.h"

namespace thinkey::python {
namespace {

using Specs = std::vector<CacheSpec>;
using MakeReport = eval::Report (*)(const eval::RunIdentity&, const eval::RunOutcome&);

// What a run left, for Python.
struct PyOutcome {
  eval::RunOutcome outcome;
  eval::Report report;
};

Specs specs_of(const std::vector<SpecArgument>& caches) {
  Specs specs;
  for (const SpecArgument& cache : caches) specs.push_back(cache.spec());
  return specs;
}

eval::ChatUse chat_use(std::string_view word) {
  if (word == "auto") return eval::ChatUse::Auto;
  if (word == "never") return eval::ChatUse::Never;
  if (word == "always") return eval::ChatUse::Always;
  throw Error(ErrorKind::Usage, "chat: 'auto', 'never' or 'always', not '" + std::string(word) + "'");
}

PyOutcome run(const std::function<eval::Task()>& make, const Model& model, const Specs& specs,
              const std::string& out, MakeReport report) {
  Computing computing;
  eval::Hooks hooks;
  hooks.checkpoint = [&computing] { computing.in_python([] {}); };
  const eval::Task task = make();
  const eval::RunIdentity identity = eval::identify(task, model);
  eval::ResultFile file(out, identity, false, hooks);
  PyOutcome result;
  result.outcome = eval::run(task, specs, file, hooks);
  result.report = report(identity, result.outcome);
  return result;
}

PyOutcome kl(const std::shared_ptr<Model>& model, const std::vector<SpecArgument>& caches,
             const std::string& text, std::size_t prompt, std::size_t continuation, std::size_t samples,
             std::size_t context, const std::string& out) {
  const Specs specs = specs_of(caches);
  return run(
      [&] {
        return eval::divergence_task(model, {.text = text,
                                             .name = eval::text_record("text", text),
                                             .prompt = prompt,
                                             .continuation = continuation,
                                             .samples = samples,
                                             .context = context});
      },
      *model, specs, out, eval::divergence_report);
}

PyOutcome needle(const std::shared_ptr<Model>& model, const std::vector<SpecArgument>& caches,
                 const std::vector<std::size_t>& lengths, const std::vector<double>& depths,
                 std::size_t repeats, std::size_t max_tokens, std::uint64_t seed, const std::string& chat,
                 const std::string& haystack, const std::string& out) {
  const Specs specs = specs_of(caches);
  return run(
      [&] {
        eval::NeedleOptions options{
            .lengths = lengths, .depths = depths, .repeats = repeats, .max_tokens = max_tokens, .seed = seed};
        if (lengths.empty()) options.lengths = eval::default_lengths(model->info().context_length);
        eval::Haystack hay;
        if (!haystack.empty()) {
          const std::string text = eval::read_directory(haystack);
          hay = eval::Haystack(eval::sentences_of(text));
          options.haystack = eval::text_record(haystack, text);
        }
        return eval::needle_task(model, chat_use(chat), std::move(hay), options);
      },
      *model, specs, out, eval::needle_report);
}

PyOutcome longbench(const std::shared_ptr<Model>& model, const std::vector<SpecArgument>& caches,
                    const std::string& data, const std::vector<std::string>& tasks, bool extended,
                    std::size_t limit, std::size_t max_length, std::size_t context, const std::string& chat,
                    const std::string& out) {
  const Specs specs = specs_of(caches);
  return run(
      [&] {
        std::vector<eval::LongBenchFile> files = eval::read_longbench(
            data, tasks, extended,
            limit > 0 ? static_cast<std::size_t>(limit) : std::numeric_limits<std::size_t>::max());
        for (const eval::LongBenchFile& file : files) {
          if (!eval::longbench_task(file.task).english) {
            throw Error(ErrorKind::Usage,
                        "longbench: " + file.task +
                            " is Chinese, which `thinkey eval longbench --segmenter` scores; "
                            "name English tasks");
          }
        }
        return eval::longbench_evaluation(
            model, std::move(files), eval::read_longbench_prompts(data),
            std::make_shared<const eval::ChineseSegmenter>(),
            {.chat = chat_use(chat), .context = context, .max_length = max_length});
      },
      *model, specs, out, eval::longbench_report);
}

nb::list records_of(const PyOutcome& outcome) {
  nb::list rows;
  for (const eval::Record& record : outcome.outcome.records) {
    nb::dict row;
    row["sample"] = record.sample;
    row["cache"] = record.cache;
    for (const auto& [name, label] : record.labels) row[name.c_str()] = label;
    for (const auto& [name, value] : record.values) row[name.c_str()] = value;
    if (!record.prediction.empty()) {
      row["prediction"] = nb::steal(PyUnicode_DecodeUTF8(
          record.prediction.data(), static_cast<Py_ssize_t>(record.prediction.size()), "replace"));
    }
    rows.append(row);
  }
  return rows;
}

}  // namespace

void bind_evaluate(nb::module_& m) {
  nb::class_<PyOutcome>(m, "Outcome", "What an evaluation measured.")
      .def_prop_ro("records", &records_of,
                   nb::for_getter(nb::sig("def records(self) -> list[dict[str, object]]")),
                   "One dict per sample and cache.")
      .def_prop_ro(
          "skipped", [](const PyOutcome& o) { return o.outcome.skipped; }, "(sample, reason).")
      .def_prop_ro("title", [](const PyOutcome& o) { return o.report.title; })
      .def_prop_ro(
          "text", [](const PyOutcome& o) { return eval::report_text(o.report); }, "Tables.")
      .def_prop_ro(
          "html", [](const PyOutcome& o) { return eval::report_html(o.report); },
          "A page with tables and figures that needs nothing else.")
      .def_prop_ro(
          "figures",
          [](const PyOutcome& o) {
            std::vector<std::string> svgs;
            for (const auto& block : o.report.blocks) {
              if (const auto* figure = std::get_if<eval::FigureBlock>(&block)) svgs.push_back(figure->svg);
            }
            return svgs;
          },
          "SVG texts.");
  m.def("kl", &kl);
  m.def("needle", &needle);
  m.def("longbench", &longbench);
}

}  // namespace thinkey::python
