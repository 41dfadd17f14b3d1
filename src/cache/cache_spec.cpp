#include "thinkey/cache_spec.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <optional>
#include <vector>

#include "base/fail.h"

namespace thinkey {
namespace {

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (;;) {
    const std::size_t at = text.find(separator);
    parts.push_back(text.substr(0, at));
    if (at == std::string_view::npos) return parts;
    text.remove_prefix(at + 1);
  }
}

template <typename Number>
std::optional<Number> number(std::string_view text) {
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::int64_t integer(std::string_view spec, std::string_view option, std::string_view value) {
  if (const auto n = number<std::int64_t>(value)) return *n;
  fail_usage("cache spec '{}': {} takes a whole number, not '{}'", spec, option, value);
}

double ratio(std::string_view spec, std::string_view option, std::string_view value) {
  const auto x = number<double>(value);
  if (x && std::isfinite(*x)) return *x;
  fail_usage("cache spec '{}': {} takes a ratio such as 0.4, not '{}'", spec, option, value);
}

// One option of a stage: `snapkv:budget=2048` or, for the stage's main option, `snapkv:2048`.
struct Option {
  std::string_view name;
  void (*set)(CacheSpec& spec, std::string_view text, std::string_view value);
};

// A stage of the pipeline; stages must be written in ascending `order`, each order once.
struct Stage {
  std::string_view name;
  int order;
  void (*begin)(CacheSpec& spec);
  std::string_view example;
  std::vector<Option> options;  // the first one may be given without its name
  bool needs_option = false;
};

const std::vector<Stage>& stages() {
  static const std::vector<Stage> table{
      {"full", 0, [](CacheSpec& s) { s.eviction = {}; }, "full", {}},
      {"snapkv",
       0,
       [](CacheSpec& s) { s.eviction.policy = Eviction::SnapKV; },
       "snapkv:2048 or snapkv:25%",
       {{"budget",
         [](CacheSpec& s, std::string_view text, std::string_view value) {
           if (value.ends_with('%')) {
             s.eviction.budget = 0;
             s.eviction.percent = ratio(text, "budget", value.substr(0, value.size() - 1));
             if (!(s.eviction.percent > 0.0))
               fail_usage("cache spec '{}': budget {} keeps nothing", text, value);
           } else {
             s.eviction.percent = 0.0;
             s.eviction.budget = integer(text, "budget", value);
           }
         }},
        {"window",
         [](CacheSpec& s, auto text, auto value) { s.eviction.window = integer(text, "window", value); }},
        {"kernel",
         [](CacheSpec& s, auto text, auto value) { s.eviction.kernel = integer(text, "kernel", value); }},
        {"pool",
         [](CacheSpec& s, std::string_view text, std::string_view value) {
           if (value != "avg" && value != "max")
             fail_usage("cache spec '{}': pool is avg or max, not '{}'", text, value);
           s.eviction.pooling = value == "max" ? Pooling::Max : Pooling::Average;
         }}},
       true},
      {"think",
       1,
       [](CacheSpec&) {},
       "think:0.4",
       {{"keys", [](CacheSpec& s, auto text, auto value) { s.channels.keys = ratio(text, "keys", value); }},
        {"recent",
         [](CacheSpec& s, auto text, auto value) { s.channels.recent = integer(text, "recent", value); }},
        {"window",
         [](CacheSpec& s, auto text, auto value) { s.channels.window = integer(text, "window", value); }}},
       true},
  };
  return table;
}

template <typename Items>
std::string names(const Items& items) {
  std::string list;
  for (const auto& item : items) list += (list.empty() ? "" : ", ") + std::string(item.name);
  return list;
}

void parse_stage(CacheSpec& spec, const Stage& stage, std::string_view text, std::string_view arguments) {
  stage.begin(spec);
  bool main_given = false;
  const std::vector<std::string_view> parts = split(arguments, ',');
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const std::size_t equals = parts[i].find('=');
    if (stage.options.empty())
      fail_usage("cache spec '{}': {} takes no options, but '{}' follows", text, stage.name, parts[i]);
    std::string_view name = parts[i].substr(0, equals);
    std::string_view value = equals == std::string_view::npos ? name : parts[i].substr(equals + 1);
    if (equals == std::string_view::npos && i == 0) name = stage.options[0].name;
    const auto option = std::find_if(stage.options.begin(), stage.options.end(),
                                     [&](const Option& o) { return o.name == name; });
    if (option == stage.options.end()) {
      fail_usage("cache spec '{}': {} has no option '{}'; choose from {}", text, stage.name, name,
                 names(stage.options));
    }
    if (value.empty()) fail_usage("cache spec '{}': {} {} has no value", text, stage.name, name);
    option->set(spec, text, value);
    main_given = main_given || option == stage.options.begin();
  }
  if (stage.needs_option && !main_given) {
    fail_usage("cache spec '{}': {} needs its {}, as in {}", text, stage.name, stage.options[0].name,
               stage.example);
  }
}

}  // namespace

std::int64_t EvictionSpec::budget_for(std::int64_t tokens) const noexcept {
  if (policy == Eviction::None) return tokens;
  const std::int64_t wanted =
      percent > 0.0 ? static_cast<std::int64_t>(std::ceil(percent / 100.0 * static_cast<double>(tokens)))
                    : budget;
  return std::min(tokens, std::max(wanted, window));
}

std::int64_t ChannelSpec::kept_keys(std::int64_t head_dim) const noexcept {
  return head_dim - static_cast<std::int64_t>(std::floor(keys * static_cast<double>(head_dim)));
}

CacheSpec CacheSpec::parse(std::string_view text) {
  CacheSpec spec;
  const Stage* previous = nullptr;
  for (const std::string_view part : split(text, '+')) {
    const std::size_t colon = part.find(':');
    const std::string_view name = part.substr(0, colon);
    const auto stage =
        std::find_if(stages().begin(), stages().end(), [&](const Stage& s) { return s.name == name; });
    if (stage == stages().end()) {
      fail_usage("cache spec '{}': unknown stage '{}'; choose from {}", text, name, names(stages()));
    }
    if (previous != nullptr && previous->order == stage->order) {
      fail_usage("cache spec '{}': {} and {} exclude each other", text, previous->name, stage->name);
    }
    if (previous != nullptr && previous->order > stage->order) {
      fail_usage("cache spec '{}': {} comes before {}", text, stage->name, previous->name);
    }
    if (colon != std::string_view::npos) {
      parse_stage(spec, *stage, text, part.substr(colon + 1));
    } else if (stage->needs_option) {
      fail_usage("cache spec '{}': {} needs its {}, as in {}", text, name, stage->options[0].name,
                 stage->example);
    } else {
      stage->begin(spec);
    }
    previous = &*stage;
  }
  spec.validate();
  return spec;
}

std::string CacheSpec::to_string() const {
  static const EvictionSpec eviction_defaults;
  static const ChannelSpec channel_defaults;
  std::string text;
  if (eviction.policy == Eviction::SnapKV) {
    text = eviction.percent > 0.0 ? fmt::format("snapkv:{}%", eviction.percent)
                                  : fmt::format("snapkv:{}", eviction.budget);
    if (eviction.window != eviction_defaults.window) text += fmt::format(",window={}", eviction.window);
    if (eviction.kernel != eviction_defaults.kernel) text += fmt::format(",kernel={}", eviction.kernel);
    if (eviction.pooling != eviction_defaults.pooling) text += ",pool=max";
  }
  if (channels.active()) {
    text += fmt::format("{}think:{}", text.empty() ? "" : "+", channels.keys);
    if (channels.recent != channel_defaults.recent) text += fmt::format(",recent={}", channels.recent);
    if (channels.window != channel_defaults.window) text += fmt::format(",window={}", channels.window);
  }
  return text.empty() ? "full" : text;
}

void CacheSpec::validate() const {
  constexpr std::int64_t kMost = std::int64_t{1} << 30;  // tokens; positions are 32-bit
  const auto within = [](std::string_view what, std::int64_t value, std::int64_t least, std::int64_t most) {
    if (value < least || value > most)
      fail_usage("cache spec: {} is {}, must be {} to {}", what, value, least, most);
  };
  if (eviction.policy != Eviction::None) {
    within("window", eviction.window, 1, kMost);
    within("kernel", eviction.kernel, 1, 1023);
    if (eviction.kernel % 2 == 0) fail_usage("cache spec: kernel is {}, must be odd", eviction.kernel);
    if (eviction.percent > 0.0) {
      if (eviction.percent > 100.0) fail_usage("cache spec: budget is {}%, at most 100%", eviction.percent);
    } else {
      within("budget", eviction.budget, 1, kMost);
      if (eviction.budget < eviction.window) {
        fail_usage(
            "cache spec: budget {} is below the observation window {}; raise the budget or lower window",
            eviction.budget, eviction.window);
      }
    }
  }
  if (!(channels.keys >= 0.0) || channels.keys >= 1.0) {
    fail_usage("cache spec: think prunes {} of the key channels, must be at least 0 and below 1",
               channels.keys);
  }
  within("recent", channels.recent, 0, kMost);
  within("think window", channels.window, 1, kMost);
}

std::int64_t CacheSpec::observation_window() const noexcept {
  std::int64_t window = 0;
  if (eviction.policy != Eviction::None) window = std::max(window, eviction.window);
  if (channels.active()) window = std::max(window, channels.window);
  return window;
}

}  // namespace thinkey
