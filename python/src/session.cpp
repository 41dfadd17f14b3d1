// thinkey/session.h
#include "thinkey/session.h"

#include <nanobind/ndarray.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/vector.h>

#include <algorithm>

#include "binding.h"

namespace thinkey::python {
namespace {

using Tokens = std::vector<std::int32_t>;
using Row = nb::ndarray<nb::numpy, const float, nb::ndim<1>>;
using Rows = nb::ndarray<nb::numpy, float, nb::ndim<2>>;
using Lock = std::scoped_lock<std::mutex>;

// The session's own numbers, which it keeps alive.
Row logits_of(nb::handle self) {
  const std::span<const float> logits = nb::cast<SharedSession&>(self).session.logits();
  return Row(logits.data(), {logits.size()}, self);
}

Rows prefill_logits(SharedSession& s, const Tokens& tokens, const nb::object& progress) {
  const std::size_t vocabulary = s.session.logits().size();
  auto* rows = new std::vector<float>(tokens.size() * vocabulary);
  nb::capsule owner(rows, [](void* p) noexcept { delete static_cast<std::vector<float>*>(p); });
  {
    Computing computing;
    const Lock lock(*s.mutex);
    s.session.prefill(
        tokens, interruptible(computing, progress), [&](std::int64_t index, std::span<const float> logits) {
          std::ranges::copy(logits, rows->begin() + index * static_cast<std::int64_t>(vocabulary));
        });
  }
  return Rows(rows->data(), {tokens.size(), vocabulary}, owner);
}

}  // namespace

void bind_session(nb::module_& m) {
  constexpr const char* kProgress = "collections.abc.Callable[[float, float], object] | None";
  static const std::string prefill_signature =
      std::string("def prefill(self, tokens: collections.abc.Sequence[int], progress: ") + kProgress +
      " = None) -> None";
  static const std::string logits_signature =
      std::string("def prefill_logits(self, tokens: collections.abc.Sequence[int], progress: ") + kProgress +
      " = None) -> numpy.typing.NDArray[numpy.float32]";
  nb::class_<SharedSession>(
      m, "Session",
      "One conversation with a model: its compressed cache, and the logits of its last "
      "token.\n\nThe engine computes without the interpreter's lock; two threads that call "
      "the same session, or\nforks of one, wait for each other.")
      .def(
          "__init__",
          [](SharedSession* self, std::shared_ptr<Model> model, const SpecArgument& cache,
             std::size_t context, std::size_t memory_limit) {
            Session session(model, {.cache = cache.spec(), .context = context, .memory_limit = memory_limit});
            new (self) SharedSession{.session = std::move(session), .model = std::move(model)};
          },
          nb::arg("model"), nb::arg("cache") = "full", nb::kw_only(), nb::arg("context") = 0,
          nb::arg("memory_limit") = 0,
          "cache: a spec. context: most tokens it may see; 0: the model's. memory_limit: most bytes a "
          "prefill\n"
          "may take beside the weights; 0: what the machine has. Raises Error.")
      .def(
          "prefill",
          [](SharedSession& s, const Tokens& tokens, const nb::object& progress) {
            Computing computing;
            const Lock lock(*s.mutex);
            s.session.prefill(tokens, interruptible(computing, progress));
          },
          nb::arg("tokens"), nb::arg("progress") = nb::none(), nb::sig(prefill_signature.c_str()),
          "Runs tokens through the model. The first call compresses their keys and values; later ones "
          "attend\n"
          "to what is kept and are appended.\n\n"
          "progress(done, total) is called as the work goes on, in an arbitrary unit. Ctrl-C, or anything "
          "it\n"
          "raises, ends the call: a first prefill leaves the session empty, a later one unusable.\n"
          "Raises Error when context or memory do not suffice, for no tokens and unknown ids.")
      .def("prefill_logits", &prefill_logits, nb::arg("tokens"), nb::arg("progress") = nb::none(),
           nb::sig(logits_signature.c_str()),
           "prefill() that returns the logits of every position, [n, V] float32.")
      .def(
          "decode",
          [](SharedSession& s, std::int32_t token) {
            const Computing computing;
            const Lock lock(*s.mutex);
            s.session.decode(token);
          },
          nb::arg("token"), "Appends one token and computes the next logits. Raises as prefill().")
      .def_prop_ro("logits", &logits_of,
                   nb::for_getter(nb::sig("def logits(self) -> numpy.typing.NDArray[numpy.float32]")),
                   "Of the latest token, [V] float32, read-only: the session's own memory, which later calls "
                   "overwrite.")
      .def(
          "fork",
          [](const SharedSession& s) {
            const Computing computing;
            const Lock lock(*s.mutex);
            return SharedSession{.session = s.session.fork(), .model = s.model, .mutex = s.mutex};
          },
          "Another session that stands where this one does; what both hold is stored once.")
      .def(
          "save",
          [](const SharedSession& s, const PathArgument& file) {
            const Computing computing;
            const Lock lock(*s.mutex);
            s.session.save(file.path);
          },
          nb::arg("path"), "Saves cache and logits, atomically. Raises Error.")
      .def_static(
          "load",
          [](std::shared_ptr<Model> model, const PathArgument& file, std::size_t context) {
            const Computing computing;
            return SharedSession{.session = Session::load(model, file.path, context), .model = model};
          },
          nb::arg("model"), nb::arg("path"), nb::arg("context") = 0,
          "A session that goes on where the saved one stood. Raises Error for a damaged file, or one of "
          "another\n"
          "model.")
      .def(
          "report", [](const SharedSession& s) { return s.session.cache_report(); },
          "What the cache holds and costs.")
      .def_prop_ro("tokens_seen", [](const SharedSession& s) { return s.session.tokens_seen(); })
      .def_prop_ro(
          "context", [](const SharedSession& s) { return s.session.context(); }, "Most tokens.")
      .def_prop_ro(
          "cache_bytes_allocated", [](const SharedSession& s) { return s.session.cache_bytes_allocated(); },
          "The allocator's count, of all forks together.")
      .def_prop_ro(
          "forward_bytes_peak", [](const SharedSession& s) { return s.session.forward_bytes_peak(); },
          "Most bytes that hidden states, one layer's K and V and scratch took at once.")
      .def_prop_ro("model", [](const SharedSession& s) { return std::const_pointer_cast<Model>(s.model); });
}

}  // namespace thinkey::python
