// thinkey/generate.h and sampler.h
#include "thinkey/generate.h"

#include <nanobind/stl/map.h>
#include <nanobind/stl/vector.h>

#include <algorithm>

#include "binding.h"
#include "thinkey/error.h"

namespace thinkey::python {
namespace {

// A generator with its session, and the text that nobody has taken yet.
struct PyGenerator {
  SharedSession* session = nullptr;  // kept alive by the Python object
  std::unique_ptr<std::string> text = std::make_unique<std::string>();
  std::unique_ptr<Generator> generator;
};

nb::str text_of(const std::string& bytes) {
  return nb::steal<nb::str>(
      PyUnicode_DecodeUTF8(bytes.data(), static_cast<Py_ssize_t>(bytes.size()), "replace"));
}

// -1: none.
std::optional<std::size_t> limit_of(std::int64_t max_tokens) {
  if (max_tokens < -1) {
    throw Error(ErrorKind::Usage,
                "max-tokens " + std::to_string(max_tokens) + ": it must be -1 (no limit), 0 or more");
  }
  return max_tokens < 0 ? std::nullopt : std::optional(static_cast<std::size_t>(max_tokens));
}

void bind_sampler(nb::module_& m) {
  nb::class_<SamplerOptions>(m, "SamplerOptions", "How the next token is chosen, with llama.cpp's options.")
      .def(
          "__init__",
          [](SamplerOptions* self, float temperature, std::int32_t top_k, float top_p, float min_p,
             float repeat_penalty, std::int32_t repeat_last_n, float presence_penalty,
             float frequency_penalty, const std::map<std::int32_t, float>& logit_bias, std::uint64_t seed) {
            new (self) SamplerOptions{.temperature = temperature,
                                      .top_k = top_k,
                                      .top_p = top_p,
                                      .min_p = min_p,
                                      .repeat_penalty = repeat_penalty,
                                      .repeat_last_n = repeat_last_n,
                                      .presence_penalty = presence_penalty,
                                      .frequency_penalty = frequency_penalty,
                                      .logit_bias = logit_bias,
                                      .seed = seed};
            static_cast<void>(Sampler(*self));  // checks them
          },
          nb::kw_only(), nb::arg("temperature") = 0.8F, nb::arg("top_k") = 40, nb::arg("top_p") = 0.95F,
          nb::arg("min_p") = 0.05F, nb::arg("repeat_penalty") = 1.0F, nb::arg("repeat_last_n") = 64,
          nb::arg("presence_penalty") = 0.0F, nb::arg("frequency_penalty") = 0.0F,
          nb::arg("logit_bias") = nb::dict(), nb::arg("seed") = 0,
          "temperature 0: greedy; top_k 0, top_p 1, min_p 0, repeat_penalty 1: off. Raises Error.")
      .def_ro("temperature", &SamplerOptions::temperature)
      .def_ro("top_k", &SamplerOptions::top_k)
      .def_ro("top_p", &SamplerOptions::top_p)
      .def_ro("min_p", &SamplerOptions::min_p)
      .def_ro("repeat_penalty", &SamplerOptions::repeat_penalty)
      .def_ro("repeat_last_n", &SamplerOptions::repeat_last_n)
      .def_ro("presence_penalty", &SamplerOptions::presence_penalty)
      .def_ro("frequency_penalty", &SamplerOptions::frequency_penalty)
      .def_ro("logit_bias", &SamplerOptions::logit_bias)
      .def_ro("seed", &SamplerOptions::seed);
}

// Locks every session once; forks share their mutex.
class SessionLocks {
 public:
  explicit SessionLocks(const std::vector<PyGenerator*>& generators) {
    std::vector<std::mutex*> mutexes;
    for (const PyGenerator* g : generators) mutexes.push_back(g->session->mutex.get());
    std::ranges::sort(mutexes);  // the same order for all, so that nobody waits in a circle
    mutexes.erase(std::unique(mutexes.begin(), mutexes.end()), mutexes.end());
    for (std::mutex* mutex : mutexes) locks_.emplace_back(*mutex);
  }

 private:
  std::vector<std::unique_lock<std::mutex>> locks_;
};

bool step_together(const std::vector<PyGenerator*>& generators) {
  Computing computing;
  bool more = false;
  {
    const SessionLocks locks(generators);
    std::vector<Generator*> inner;
    for (const PyGenerator* g : generators) inner.push_back(g->generator.get());
    more = Generator::step_together(inner);
  }
  computing.in_python([] {});
  return more;
}

}  // namespace

void bind_generate(nb::module_& m) {
  bind_sampler(m);
  nb::class_<Generation>(m, "Generation", "An answer.")
      .def_ro("tokens", &Generation::tokens, "Generated, the end token excluded.")
      .def_prop_ro("text", [](const Generation& g) { return text_of(g.text); })
      .def_prop_ro(
          "stop_reason", [](const Generation& g) { return std::string(stop_reason_name(g.reason)); },
          "'eos', 'length', 'context' or 'stopped'.")
      .def_ro("ended", &Generation::ended, "The model's end-of-turn token is in the cache.")
      .def_ro("end_token", &Generation::end_token, "That token; -1: none.")
      .def_ro("prompt_tokens", &Generation::prompt_tokens)
      .def_ro("prefill_seconds", &Generation::prefill_seconds)
      .def_ro("decode_seconds", &Generation::decode_seconds, "Sampling included.")
      .def("__repr__", [](const Generation& g) {
        return nb::str("Generation({!r}, tokens={}, stop_reason={!r})")
            .format(text_of(g.text), g.tokens.size(), std::string(stop_reason_name(g.reason)));
      });
  nb::class_<PyGenerator>(m, "Generator",
                          "An answer token by token; thinkey.generate and stream are loops of it.")
      .def(
          "__init__",
          [](PyGenerator* self, SharedSession& session, const std::vector<std::int32_t>& prompt,
             std::int64_t max_tokens, const SamplerOptions& sampler, const nb::object& progress) {
            PyGenerator made;
            made.session = &session;
            std::string& text = *made.text;
            Computing computing;
            {
              const std::scoped_lock lock(*session.mutex);
              made.generator =
                  std::make_unique<Generator>(session.session, prompt,
                                              GenerateOptions{.max_tokens = limit_of(max_tokens),
                                                              .sampler = sampler,
                                                              .progress = interruptible(computing, progress),
                                                              .sink = [&text](std::string_view piece) {
                                                                text += piece;
                                                                return true;
                                                              }});
            }
            new (self) PyGenerator(std::move(made));
          },
          nb::arg("session"), nb::arg("prompt"), nb::kw_only(), nb::arg("max_tokens"), nb::arg("sampler"),
          nb::arg("progress") = nb::none(), nb::keep_alive<1, 2>(),
          nb::sig(
              "def __init__(self, session: Session, prompt: collections.abc.Sequence[int], *, max_tokens: "
              "int, "
              "sampler: SamplerOptions, progress: collections.abc.Callable[[float, float], object] | None = "
              "None) -> None"))
      .def(
          "step", [](PyGenerator& g) { return step_together({&g}); },
          "Chooses the next token and runs it; False when the answer had ended before.")
      .def_static("step_together", &step_together, nb::arg("generators"),
                  "One step of several generators of different sessions, which read the weights once.")
      .def(
          "take_text", [](PyGenerator& g) { return text_of(std::exchange(*g.text, {})); },
          "Whole characters since the last call.")
      .def_prop_ro(
          "result", [](const PyGenerator& g) { return g.generator->result(); }, "So far.");
}

}  // namespace thinkey::python
