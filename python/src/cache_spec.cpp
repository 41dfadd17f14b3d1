// thinkey/cache_spec.h and eviction_policies.h: between the structs and the dataclasses of
// thinkey.cache_spec, whose fields have the same names.
#include <string>

#include "binding.h"
#include "thinkey/error.h"

namespace thinkey::python {
namespace {

// Each struct's fields, once, for both directions.
template <typename F>
void fields(NoEviction&, F) {}
template <typename F>
void fields(SnapKV& s, F f) {
  f("window", s.window), f("kernel", s.kernel), f("pooling", s.pooling);
}
template <typename F>
void fields(H2O& s, F f) {
  f("window", s.window), f("observe_window", s.observe_window);
}
template <typename F>
void fields(PyramidKV& s, F f) {
  f("window", s.window), f("kernel", s.kernel), f("pooling", s.pooling), f("beta", s.beta);
}
template <typename F>
void fields(Streaming& s, F f) {
  f("sinks", s.sinks);
}
template <typename F>
void fields(Tova&, F) {}
template <typename F>
void fields(ExpectedAttention& s, F f) {
  f("future", s.future), f("sinks", s.sinks), f("covariance", s.covariance), f("output_norm", s.output_norm);
  f("epsilon", s.epsilon), f("window", s.window);
}
template <typename F>
void fields(KeyDiff&, F) {}
template <typename F>
void fields(KVzip& s, F f) {
  f("sinks", s.sinks), f("normalized", s.normalized);
}
template <typename F>
void fields(Compactor& s, F f) {
  f("sinks", s.sinks), f("recent", s.recent), f("block", s.block), f("blend", s.blend);
}
template <typename F>
void fields(LagKV& s, F f) {
  f("sinks", s.sinks), f("lag", s.lag);
}
template <typename F>
void fields(RKV& s, F f) {
  f("window", s.window), f("kernel", s.kernel), f("lambda_", s.lambda), f("similarity", s.similarity);
}
template <typename F>
void fields(EvictionSpec& s, F f) {
  f("budget", s.budget), f("percent", s.percent), f("every", s.every), f("adakv", s.adakv);
  f("floor", s.floor), f("critical", s.critical), f("chunk", s.chunk);
}
template <typename F>
void fields(ChannelSpec& s, F f) {
  f("keys", s.keys), f("values", s.values), f("recent", s.recent), f("window", s.window);
  f("bias", s.bias), f("adaptive", s.adaptive), f("form", s.form);
}
template <typename F>
void fields(QuantizationSpec& s, F f) {
  f("bits", s.bits), f("group", s.group), f("residual", s.residual);
}
template <typename F>
void fields(TurboSpec& s, F f) {
  f("keys", s.keys), f("values", s.values), f("sinks", s.sinks), f("recent", s.recent);
  f("percent", s.percent), f("bytes", s.bytes);
}

constexpr const char* kPolicyNames[] = {
    "NoEviction",        "SnapKV",  "H2O",   "PyramidKV", "Streaming", "Tova",
    "ExpectedAttention", "KeyDiff", "KVzip", "Compactor", "LagKV",     "RKV"};
static_assert(std::variant_size_v<PolicyOptions> == std::size(kPolicyNames));

nb::object class_named(const char* name) { return nb::module_::import_("thinkey.cache_spec").attr(name); }

nb::object field_to_python(Pooling pooling) { return nb::str(pooling == Pooling::Max ? "max" : "average"); }
nb::object field_to_python(KeyForm form) { return nb::str(form == KeyForm::Paper ? "paper" : "mixed"); }
template <typename T>
nb::object field_to_python(T value) {
  return nb::cast(value);
}

[[noreturn]] void refuse(const char* name, const char* wanted) {
  throw Error(ErrorKind::Usage, std::string("cache spec: ") + name + " must be " + wanted);
}
void field_from_python(const char* name, nb::handle from, Pooling& to) {
  std::string word;
  if (!nb::try_cast(from, word) || (word != "max" && word != "average")) refuse(name, "'average' or 'max'");
  to = word == "max" ? Pooling::Max : Pooling::Average;
}
void field_from_python(const char* name, nb::handle from, KeyForm& to) {
  std::string word;
  if (!nb::try_cast(from, word) || (word != "mixed" && word != "paper")) refuse(name, "'mixed' or 'paper'");
  to = word == "paper" ? KeyForm::Paper : KeyForm::Mixed;
}
void field_from_python(const char* name, nb::handle from, bool& to) {
  if (!nb::try_cast(from, to)) refuse(name, "True or False");
}
void field_from_python(const char* name, nb::handle from, std::size_t& to) {
  if (!nb::try_cast(from, to)) refuse(name, "an integer, 0 or more");
}
void field_from_python(const char* name, nb::handle from, double& to) {
  if (!nb::try_cast(from, to)) refuse(name, "a number");
}

template <typename T>
nb::object object_of(const char* name, T value, nb::dict more = nb::dict()) {
  fields(value, [&](const char* field, auto& x) { more[field] = field_to_python(x); });
  return class_named(name)(**more);
}

template <typename T>
T struct_of(nb::handle from) {
  T out;
  fields(out, [&](const char* field, auto& x) { field_from_python(field, from.attr(field), x); });
  return out;
}

template <std::size_t... I>
PolicyOptions policy_from(nb::handle from, std::index_sequence<I...>) {
  PolicyOptions out;
  const bool found = ((from.type().is(class_named(kPolicyNames[I])) &&
                       (out = struct_of<std::variant_alternative_t<I, PolicyOptions>>(from), true)) ||
                      ...);
  if (!found) refuse("policy", "one of the policies of thinkey.cache_spec, such as SnapKV()");
  return out;
}

CacheSpec from_python(nb::handle from) {
  CacheSpec out;
  const nb::object eviction = from.attr("eviction");
  out.eviction = struct_of<EvictionSpec>(eviction);
  out.eviction.policy =
      policy_from(eviction.attr("policy"), std::make_index_sequence<std::variant_size_v<PolicyOptions>>());
  out.channels = struct_of<ChannelSpec>(from.attr("channels"));
  out.quantization = struct_of<QuantizationSpec>(from.attr("quantization"));
  out.turbo = struct_of<TurboSpec>(from.attr("turbo"));
  field_from_python("automatic", from.attr("automatic"), out.automatic);
  out.validate();
  return out;
}

}  // namespace

nb::object to_python(const CacheSpec& spec) {
  nb::dict eviction;
  eviction["policy"] = std::visit(
      [&](const auto& policy) { return object_of(kPolicyNames[spec.eviction.policy.index()], policy); },
      spec.eviction.policy);
  nb::dict stages;
  stages["eviction"] = object_of("Eviction", spec.eviction, eviction);
  stages["channels"] = object_of("Channels", spec.channels);
  stages["quantization"] = object_of("Quantization", spec.quantization);
  stages["turbo"] = object_of("Turbo", spec.turbo);
  stages["automatic"] = spec.automatic;
  return class_named("CacheSpec")(**stages);
}

CacheSpec SpecArgument::spec() const {
  std::string text;
  if (nb::try_cast(value, text)) return CacheSpec::parse(text);
  if (!nb::isinstance(value, class_named("CacheSpec"))) {
    throw Error(ErrorKind::Usage, "cache spec: give text such as 'snapkv:2048+think:0.4', or a CacheSpec");
  }
  return from_python(value);
}

void bind_cache_spec(nb::module_& m) {
  m.def(
      "parse_spec", [](std::string_view text) { return to_python(CacheSpec::parse(text)); },
      nb::sig("def parse_spec(text: str) -> thinkey.cache_spec.CacheSpec"));
  m.def(
      "normalize_spec", [](const SpecArgument& s) { return to_python(s.spec().normalized()); },
      nb::sig(
          "def normalize_spec(spec: thinkey.cache_spec.CacheSpec | str) -> thinkey.cache_spec.CacheSpec"));
  m.def("print_spec", [](const SpecArgument& s) { return s.spec().to_string(); });
  m.def("spec_is_question_dependent", [](const SpecArgument& s) { return s.spec().question_dependent(); });
}

}  // namespace thinkey::python
