#include "eval/needle/needle.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/fail.h"
#include "eval/longbench/scores.h"
#include "eval/needle/prose.h"
#include "eval/report/summary.h"
#include "eval/run/generation.h"

namespace thinkey::eval {
namespace {

struct Place {
  std::size_t length;
  double depth;
};

// Everything one sample needs, shared by the task's functions.
struct Needle {
  PromptEncoder encoder;
  Haystack haystack;
  NeedleOptions options;
  std::vector<SampleKey> keys;
  std::vector<Place> places;

  [[nodiscard]] Question question(std::size_t sample) const {
    Random random = random_for(options.seed, keys[sample].id);
    const Fact fact = random_fact(random);
    const auto filled = [&](const std::string& text) {
      return replaced(replaced(text, "{key}", fact.key), "{value}", fact.value);
    };
    const std::string needle = filled(options.needle);
    const std::string tail = "\n\n" + filled(options.question);
    const Place place = places[sample];
    const std::size_t room = place.length - options.max_tokens;
    const std::size_t around = encoder.encode(needle + tail).size();
    std::vector<std::string> pieces = gather(haystack.open(random), encoder, room - std::min(room, around));
    Question out;
    // Pieces tokenized one by one may make fewer tokens than together.
    for (;; pieces.pop_back()) {
      std::vector<std::string> document = pieces;
      const std::size_t at = place_at(document, place.depth / 100.0);
      document.insert(document.begin() + static_cast<std::ptrdiff_t>(at), " " + needle);
      out.prompt = encoder.encode(join(document) + tail);
      if (out.prompt.size() <= room) break;
      if (pieces.empty()) {
        throw SampleSkipped(
            fmt::format("needle and question alone are {} tokens, the length is {} of which {} are for "
                        "the answer",
                        out.prompt.size(), place.length, options.max_tokens));
      }
    }
    out.references = {filled(options.answer)};
    out.max_tokens = options.max_tokens;
    return out;
  }
};

void check(const NeedleOptions& options) {
  if (options.lengths.empty() || options.depths.empty()) {
    fail_usage("no lengths or no depths to hide a needle at");
  }
  for (const std::size_t length : options.lengths) {
    if (length <= options.max_tokens) {
      fail_usage("a length of {} tokens has no room for an answer of {}", length, options.max_tokens);
    }
  }
  for (const double depth : options.depths) {
    if (!(depth >= 0.0 && depth <= 100.0)) fail_usage("depth {}: it must be 0 to 100 percent", depth);
  }
  if (trimmed(options.needle).empty() || trimmed(options.question).empty() ||
      trimmed(options.answer).empty()) {
    fail_usage("needle, question and answer must not be empty");
  }
}

}  // namespace

Task needle_task(std::shared_ptr<const Model> model, ChatUse chat, Haystack haystack,
                 const NeedleOptions& options) {
  check(options);
  auto needle =
      std::make_shared<Needle>(Needle{PromptEncoder(model, chat), std::move(haystack), options, {}, {}});
  for (const std::size_t length : options.lengths) {
    for (const double depth : options.depths) {
      for (std::size_t i = 0; i < options.repeats; ++i) {
        needle->keys.push_back({fmt::format("{}/{:g}/{}", length, depth, i),
                                {{"length", std::to_string(length)}, {"depth", fmt::format("{:g}", depth)}}});
        needle->places.push_back({length, depth});
      }
    }
  }
  const nlohmann::ordered_json settings = {
      {"needle", options.needle},         {"question", options.question},
      {"answer", options.answer},         {"score", options.rouge ? "rouge1" : "substring"},
      {"haystack", options.haystack},     {"chat", needle->encoder.chat()},
      {"max_tokens", options.max_tokens}, {"seed", options.seed}};
  Task task{.name = "needle", .settings = settings.dump(), .samples = needle->keys, .measure = {}};
  task.measure = measure_generation(
      std::move(model), {.question = [needle](std::size_t sample) { return needle->question(sample); },
                         .score =
                             [needle](std::size_t, const Question& question, std::string_view prediction) {
                               return needle->options.rouge ? rouge1_recall(prediction, question.references)
                                                            : match_part(prediction, question.references);
                             },
                         .context = options.context});
  return task;
}

Report needle_report(const RunIdentity& identity, const RunOutcome& outcome) {
  Report report = score_report("Needle in a haystack", identity, outcome,
                               {{"length", "score by length, tokens"}, {"depth", "score by depth, percent"}});
  if (!outcome.records.empty()) {
    HeatMap map = score_heat_map(outcome.records, "depth", "length", "score by depth and length, percent");
    map.row_title = "depth, %";
    map.column_title = "length, tokens";
    report.add_figure(heat_map_svg(map), "Depth: how much of the document stands before the needle.");
  }
  return report;
}

std::vector<std::size_t> default_lengths(std::size_t context) {
  constexpr std::size_t kFirst = 1024;
  constexpr std::size_t kMost = 32768;
  if (context < 2 * kFirst) return {context / 2, context};
  std::vector<std::size_t> lengths;
  for (std::size_t length = kFirst; length <= std::min(context, kMost); length *= 2) {
    lengths.push_back(length);
  }
  return lengths;
}

}  // namespace thinkey::eval
