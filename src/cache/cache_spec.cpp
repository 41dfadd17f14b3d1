#include "thinkey/cache_spec.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <vector>

#include "base/fail.h"
#include "cache/layer_compression.h"
#include "cache/policy.h"
#include "cache/spec_words.h"

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

// One option of a stage: `snapkv:budget=2048` or, for the stage's main option, `snapkv:2048`. A flag
// has no value: `think:0.4,bias`.
struct Option {
  std::string_view name;
  std::function<void(CacheSpec& spec, std::string_view text, std::string_view value)> set;
  bool flag = false;
};

// A stage of the pipeline; stages must be written in ascending `order`, each order once.
struct Stage {
  std::string_view name;
  int order;
  std::function<void(CacheSpec& spec)> begin;
  std::string example;
  std::vector<Option> options;  // the first one may be given without its name, and must be given if
  bool needs_option;            // this is set (or one of the others that can stand for it)
};

using Text = std::string_view;

Option budget_option() {
  return {"budget", [](CacheSpec& s, Text text, Text value) {
            s.eviction.budget = 0;
            s.eviction.percent = 0.0;
            if (!value.ends_with('%')) {
              s.eviction.budget = integer(text, "budget", value);
              return;
            }
            s.eviction.percent = ratio(text, "budget", value.substr(0, value.size() - 1));
            if (!(s.eviction.percent > 0.0)) {
              fail_usage("cache spec '{}': budget {} keeps nothing", text, value);
            }
          }};
}

// A share of full f16 or a number of bytes.
void set_budget(TurboSpec& turbo, Text text, Text option, Text value) {
  turbo.keys = turbo.values = 16;
  turbo.percent = 0.0;
  turbo.bytes = 0;
  if (!value.ends_with('%')) {
    turbo.bytes = byte_count(text, option, value);
    return;
  }
  turbo.percent = ratio(text, option, value.substr(0, value.size() - 1));
  if (!(turbo.percent > 0.0)) fail_usage("cache spec '{}': {} {} keeps nothing", text, option, value);
}

KeyForm key_form(Text text, Text value) {
  if (value == "mixed") return KeyForm::Mixed;
  if (value == "paper") return KeyForm::Paper;
  fail_usage("cache spec '{}': think form is '{}', choose mixed or paper", text, value);
}

// The stage of a policy: its own options between the budget and those that all policies share.
Stage stage_of(const Policy& policy) {
  Stage stage{.name = policy.name,
              .order = 0,
              .begin = [&policy](CacheSpec& s) { s.eviction.policy = policy.standard; },
              .example = fmt::format("{0}:2048 or {0}:25%", policy.name),
              .options = {budget_option()},
              .needs_option = true};
  for (const PolicyOption& option : policy.options) {
    stage.options.push_back(
        {option.name, [&option](CacheSpec& s, Text text, Text v) { option.set(s.eviction.policy, text, v); },
         option.flag});
  }
  if (policy.evicts_again) {
    stage.options.push_back(
        {"every", [](CacheSpec& s, Text text, Text v) { s.eviction.every = integer(text, "every", v); }});
  }
  if (!policy.ranks) return stage;
  stage.options.push_back({"adakv", [](CacheSpec& s, Text, Text) { s.eviction.adakv = true; }, true});
  stage.options.push_back(
      {"floor", [](CacheSpec& s, Text text, Text v) { s.eviction.floor = ratio(text, "floor", v); }});
  stage.options.push_back({"critical", [](CacheSpec& s, Text, Text) { s.eviction.critical = true; }, true});
  stage.options.push_back(
      {"chunk", [](CacheSpec& s, Text text, Text v) { s.eviction.chunk = integer(text, "chunk", v); }});
  return stage;
}

const std::vector<Stage>& stages() {
  static const std::vector<Stage> table = [] {
    std::vector<Stage> all{{"full", 0, [](CacheSpec& s) { s.eviction = {}; }, "full", {}, false}};
    for (const Policy* policy : all_policies()) all.push_back(stage_of(*policy));
    all.push_back(
        {"auto",
         0,
         [](CacheSpec& s) { s.automatic = true; },
         "auto:25% or auto:512MiB",
         {{"budget", [](CacheSpec& s, Text text, Text v) { set_budget(s.turbo, text, "auto", v); }}},
         true});
    all.insert(
        all.end(),
        {
            {"think",
             1,
             [](CacheSpec&) {},
             "think:0.4 or think:keys=0.4,values=0.3",
             {{"keys", [](CacheSpec& s, Text text, Text v) { s.channels.keys = ratio(text, "keys", v); }},
              {"values",
               [](CacheSpec& s, Text text, Text v) { s.channels.values = ratio(text, "values", v); }},
              {"recent",
               [](CacheSpec& s, Text text, Text v) { s.channels.recent = integer(text, "recent", v); }},
              {"window",
               [](CacheSpec& s, Text text, Text v) { s.channels.window = integer(text, "window", v); }},
              {"bias", [](CacheSpec& s, Text, Text) { s.channels.bias = true; }, true},
              {"adaptive", [](CacheSpec& s, Text, Text) { s.channels.adaptive = true; }, true},
              {"form", [](CacheSpec& s, Text text, Text v) { s.channels.form = key_form(text, v); }},
              // What the default was called before it was one.
              {"mixed", [](CacheSpec& s, Text, Text) { s.channels.form = KeyForm::Mixed; }, true}},
             true},
            {"kivi",
             2,
             [](CacheSpec&) {},
             "kivi:4",
             {{"bits",
               [](CacheSpec& s, Text text, Text v) { s.quantization.bits = integer(text, "bits", v); }},
              {"group",
               [](CacheSpec& s, Text text, Text v) { s.quantization.group = integer(text, "group", v); }},
              {"residual", [](CacheSpec& s, Text text,
                              Text v) { s.quantization.residual = integer(text, "residual", v); }}},
             true},
            {"turbo",
             2,
             [](CacheSpec&) {},
             "turbo:4 or turbo:keys=3,values=2",
             {{"bits",
               [](CacheSpec& s, Text text, Text v) {
                 if (v.ends_with('%') || v.ends_with('B')) return set_budget(s.turbo, text, "turbo", v);
                 s.turbo.keys = s.turbo.values = integer(text, "bits", v);
               }},
              {"keys", [](CacheSpec& s, Text text, Text v) { s.turbo.keys = integer(text, "keys", v); }},
              {"values",
               [](CacheSpec& s, Text text, Text v) { s.turbo.values = integer(text, "values", v); }},
              {"sinks", [](CacheSpec& s, Text text, Text v) { s.turbo.sinks = integer(text, "sinks", v); }},
              {"recent",
               [](CacheSpec& s, Text text, Text v) { s.turbo.recent = integer(text, "recent", v); }}},
             true},
        });
    return all;
  }();
  return table;
}

template <typename Items>
std::string names(const Items& items) {
  std::string list;
  for (const auto& item : items) list += (list.empty() ? "" : ", ") + std::string(item.name);
  return list;
}

void parse_stage(CacheSpec& spec, const Stage& stage, Text text, Text arguments) {
  stage.begin(spec);
  bool main_given = false;
  const std::vector<Text> parts = split(arguments, ',');
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (stage.options.empty()) {
      fail_usage("cache spec '{}': {} takes no options, but '{}' follows", text, stage.name, parts[i]);
    }
    const std::size_t equals = parts[i].find('=');
    Text name = parts[i].substr(0, equals);
    Text value = equals == Text::npos ? Text{} : parts[i].substr(equals + 1);
    const auto find = [&] {
      return std::find_if(stage.options.begin(), stage.options.end(),
                          [&](const Option& o) { return o.name == name; });
    };
    auto option = find();
    if (option == stage.options.end() && equals == Text::npos && i == 0) {  // the main option's bare value
      value = name;
      name = stage.options[0].name;
      option = find();
    }
    if (option == stage.options.end()) {
      fail_usage("cache spec '{}': {} has no option '{}'; choose from {}", text, stage.name, name,
                 names(stage.options));
    }
    if (option->flag && equals != Text::npos) {
      fail_usage("cache spec '{}': {} {} takes no value, but '{}' follows", text, stage.name, name, value);
    }
    if (!option->flag && value.empty()) {
      fail_usage("cache spec '{}': {} {} has no value", text, stage.name, name);
    }
    option->set(spec, text, value);
    main_given = main_given || option == stage.options.begin() || option->name == "values";
  }
  if (stage.needs_option && !main_given) {
    fail_usage("cache spec '{}': {} needs its {}, as in {}", text, stage.name, stage.options[0].name,
               stage.example);
  }
}

}  // namespace

std::size_t EvictionSpec::budget_for(std::size_t tokens) const {
  const Policy* chosen = policy_of(policy);
  if (chosen == nullptr) return tokens;
  const std::size_t wanted =
      percent > 0.0 ? static_cast<std::size_t>(std::ceil(percent / 100.0 * static_cast<double>(tokens)))
                    : budget;
  return std::min(tokens, std::max(wanted, chosen->least(policy)));
}

bool EvictionSpec::question_dependent() const {
  const Policy* chosen = policy_of(policy);
  return chosen != nullptr && chosen->question_dependent(policy);
}

std::size_t ChannelSpec::kept_keys(std::size_t head_dim) const noexcept {
  return head_dim - static_cast<std::size_t>(std::floor(keys * static_cast<double>(head_dim)));
}

std::size_t ChannelSpec::kept_values(std::size_t head_dim) const noexcept {
  return head_dim - static_cast<std::size_t>(std::floor(values * static_cast<double>(head_dim)));
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
  return spec.normalized();
}

CacheSpec CacheSpec::normalized() const {
  CacheSpec out;
  if (channels.active()) out.channels = channels;
  if (!(channels.keys > 0.0)) out.channels.form = ChannelSpec{}.form;
  if (quantization.active()) out.quantization = quantization;
  if (turbo.active()) out.turbo = turbo;
  if (turbo.percent > 0.0) out.turbo.bytes = 0;
  out.automatic = automatic && turbo.budgeted();
  if (!eviction.active()) return out;
  EvictionSpec& e = out.eviction;
  e = eviction;
  e.percent = std::max(0.0, eviction.percent);
  if (e.percent > 0.0) e.budget = 0;
  if (!e.adakv) e.floor = EvictionSpec{}.floor;
  if (e.chunk == 1) e.chunk = 0;
  return out;
}

namespace {

// Appends `,name=value` where the value is not the default.
template <typename Value>
void print_option(std::string& text, Text name, const Value& value, const Value& standard) {
  if (value != standard) text += fmt::format(",{}={}", name, value);
}

std::string print(const EvictionSpec& e) {
  static const EvictionSpec standard;
  const Policy& policy = *policy_of(e.policy);
  std::string text = fmt::format("{}:", policy.name);
  text += e.percent > 0.0 ? fmt::format("{}%", e.percent) : fmt::format("{}", e.budget);
  for (const PolicyOption& option : policy.options) {
    const std::string word = option.print(e.policy);
    if (!word.empty()) text += "," + word;
  }
  print_option(text, "every", e.every, standard.every);
  if (e.adakv) text += ",adakv";
  print_option(text, "floor", e.floor, standard.floor);
  if (e.critical) text += ",critical";
  print_option(text, "chunk", e.chunk, standard.chunk);
  return text;
}

std::string print(const ChannelSpec& c) {
  static const ChannelSpec standard;
  std::string text =
      c.keys > 0.0 ? fmt::format("think:{}", c.keys) : fmt::format("think:values={}", c.values);
  if (c.keys > 0.0) print_option(text, "values", c.values, standard.values);
  print_option(text, "recent", c.recent, standard.recent);
  print_option(text, "window", c.window, standard.window);
  for (const auto& [on, name] :
       {std::pair{c.bias, ",bias"}, {c.adaptive, ",adaptive"}, {c.form == KeyForm::Paper, ",form=paper"}}) {
    if (on) text += name;
  }
  return text;
}

std::string print(const QuantizationSpec& q) {
  static const QuantizationSpec standard;
  std::string text = fmt::format("kivi:{}", q.bits);
  print_option(text, "group", q.group, standard.group);
  print_option(text, "residual", q.residual, standard.residual);
  return text;
}

std::string print_budget(const TurboSpec& q) {
  if (q.percent > 0.0) return fmt::format("{}%", q.percent);
  for (const auto& [shift, unit] : {std::pair{30, "GiB"}, {20, "MiB"}, {10, "KiB"}}) {
    if (q.bytes % (std::int64_t{1} << shift) == 0) return fmt::format("{}{}", q.bytes >> shift, unit);
  }
  return fmt::format("{}", q.bytes);
}

std::string print(const TurboSpec& q, bool automatic) {
  static const TurboSpec standard;
  if (automatic) return "auto:" + print_budget(q);
  std::string text = q.budgeted()
                         ? "turbo:" + print_budget(q) + (q.percent > 0.0 || q.bytes % 1024 == 0 ? "" : "B")
                     : q.keys == q.values ? fmt::format("turbo:{}", q.keys)
                                          : fmt::format("turbo:keys={},values={}", q.keys, q.values);
  print_option(text, "sinks", q.sinks, standard.sinks);
  print_option(text, "recent", q.recent, standard.recent);
  return text;
}

void validate_turbo(const TurboSpec& q) {
  if (q.budgeted() && (q.keys != 16 || q.values != 16)) {
    fail_usage("cache spec: turbo has a budget and numbers of bits; choose one");
  }
  for (const auto& [what, bits] : {std::pair{"keys", q.keys}, {"values", q.values}}) {
    if (bits != 16 && bits != 8 && !(bits >= 1 && bits <= 6)) {
      fail_usage("cache spec: turbo stores {} in {} bits, choose 8, 6, 5, 4, 3, 2 or 1", what, bits);
    }
  }
  if ((q.keys == 16) != (q.values == 16)) {
    fail_usage(
        "cache spec: turbo stores {} in 16 bits and the other half in fewer; choose 8, 6, 5, 4, 3, 2 or 1 "
        "for both",
        q.keys == 16 ? "keys" : "values");
  }
  if (!(q.percent >= 0.0 && q.percent <= 1e4)) {
    fail_usage("cache spec: a budget is {}%, must be above 0 and at most 10000%", q.percent);
  }
  within("turbo sinks", q.sinks, 0, 32);
  within("turbo recent", q.recent, 0, kMostTokens);
}

void validate_eviction(const EvictionSpec& e) {
  const Policy* policy = policy_of(e.policy);
  if (policy == nullptr) return;
  for (const PolicyOption& option : policy->options) option.check(e.policy);
  within("every", e.every, 0, kMostTokens);
  within("chunk", e.chunk, 0, kMostTokens);
  if (!(e.floor >= 0.0 && e.floor <= 1.0)) {
    fail_usage("cache spec: floor is {}, must be 0 to 1", e.floor);
  }
  if (!e.adakv && e.floor != EvictionSpec{}.floor)
    fail_usage("cache spec: floor is adakv's; write adakv,floor={}", e.floor);
  if (e.every > 0 && !policy->evicts_again) {
    fail_usage("cache spec: {} scores prompts only and has no every", policy->name);
  }
  if ((e.adakv || e.critical || e.chunk > 0) && !policy->ranks) {
    fail_usage("cache spec: {} ranks no tokens, so that adakv, critical and chunk have nothing to work on",
               policy->name);
  }
  if (e.percent > 0.0) {
    if (!(e.percent <= 100.0)) fail_usage("cache spec: budget is {}%, at most 100%", e.percent);
    return;
  }
  within("budget", e.budget, 1, kMostTokens);
  const std::size_t least = policy->least(e.policy);
  if (e.budget < least) {
    fail_usage(
        "cache spec: budget {} is below the {} tokens that {} always keeps; raise the budget or lower {}",
        e.budget, least, policy->name, policy->always);
  }
}

}  // namespace

std::string CacheSpec::to_string() const {
  std::string text;
  const auto add = [&](const std::string& stage) { text += (text.empty() ? "" : "+") + stage; };
  const CacheSpec spec = normalized();
  if (spec.eviction.active()) add(print(spec.eviction));
  if (spec.channels.active()) add(print(spec.channels));
  if (spec.quantization.active()) add(print(spec.quantization));
  if (spec.turbo.active()) add(print(spec.turbo, spec.automatic));
  return text.empty() ? "full" : text;
}

void CacheSpec::validate() const {
  validate_eviction(eviction);
  for (const auto& [what, value] : {std::pair{"key", channels.keys}, {"value", channels.values}}) {
    if (!(value >= 0.0) || value >= 1.0) {
      fail_usage("cache spec: think prunes {} of the {} channels, must be at least 0 and below 1", value,
                 what);
    }
  }
  within("recent", channels.recent, 0, kMostTokens);
  within("think window", channels.window, 1, kMostTokens);
  if (quantization.bits != 16 && quantization.bits != 8 && quantization.bits != 4 && quantization.bits != 2) {
    fail_usage("cache spec: kivi has {} bits, choose 8, 4 or 2", quantization.bits);
  }
  if (quantization.group != 32 && quantization.group != 64 && quantization.group != 128) {
    fail_usage("cache spec: kivi group is {}, choose 32, 64 or 128", quantization.group);
  }
  within("kivi residual", quantization.residual, 0, kMostTokens);
  validate_turbo(turbo);
  if (automatic && (eviction.active() || channels.active() || quantization.active() || turbo.keys != 16)) {
    fail_usage("cache spec: auto chooses all stages itself; leave out the others");
  }
  if (quantization.active() && turbo.active()) {
    fail_usage("cache spec: kivi and turbo exclude each other; choose one");
  }
  if (channels.mixed() && turbo.active()) {
    fail_usage(
        "cache spec: think gives channels bits of their own, and turbo rotates channels into each other; "
        "leave "
        "out one, or write think:{},form=paper",
        channels.keys);
  }
}

std::size_t CacheSpec::observation_window() const {
  std::size_t window = 0;
  if (const Policy* policy = policy_of(eviction.policy)) window = policy->window(eviction.policy);
  if (channels.active()) window = std::max(window, channels.window);
  if (turbo.budgeted()) window = std::max({window, kNoiseWindow, automatic ? SnapKV{}.window : 0});
  return window;
}

std::size_t CacheSpec::recent_tokens() const noexcept {
  return std::max({channels.active() ? channels.recent : 0, quantization.active() ? quantization.residual : 0,
                   turbo.active() ? turbo.recent : 0});
}

}  // namespace thinkey
