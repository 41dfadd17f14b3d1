// thinkey/kv_cache.h
#include "thinkey/kv_cache.h"

#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/vector.h>

#include <algorithm>

#include "binding.h"
#include "thinkey/error.h"

namespace thinkey::python {
namespace {

// From numpy, torch or anything that speaks DLPack; other types and layouts are converted.
template <int N>
using In = nb::ndarray<const float, nb::ndim<N>, nb::c_contig, nb::device::cpu>;
template <int N>
using Out = nb::ndarray<float, nb::ndim<N>, nb::c_contig, nb::device::cpu>;

// What the sizes of an argument are held against.
struct PyKvCache {
  KvCache cache;
  std::size_t heads, kv_heads, dim;
};

[[noreturn]] void refuse(const std::string& message) { throw Error(ErrorKind::Usage, message); }

template <typename Array>
void require_shape(const char* name, const Array& array, std::initializer_list<std::size_t> wanted) {
  std::size_t i = 0;
  bool same = true;
  std::string is, asked;
  for (const std::size_t n : wanted) {
    same = same && array.shape(i) == n;
    is += (i > 0 ? ", " : "") + std::to_string(array.shape(i));
    asked += (i > 0 ? ", " : "") + std::to_string(n);
    ++i;
  }
  if (!same) refuse(std::string("cache: ") + name + " has shape [" + is + "]; it must be [" + asked + "]");
}

// Python's integers have signs.
std::size_t counted(const char* name, std::int64_t n) {
  if (n < 0) refuse(std::string("cache: ") + name + " is " + std::to_string(n) + "; it must be 0 or more");
  return static_cast<std::size_t>(n);
}

void require_finite(const char* name, const float* x, std::size_t n) {
  // A sum is finite only if all of it is, or it overflowed: then looked at one by one.
  float sum = 0.0F;
  for (std::size_t i = 0; i < n; ++i) sum += x[i] * 0.0F;
  if (sum != 0.0F) refuse(std::string("cache: ") + name + " has NaN or infinity in it");
}

void forward(PyKvCache& s, std::int64_t layer, const In<3>& q, const In<3>& k, const In<3>& v,
             const std::optional<Out<3>>& out) {
  const std::size_t n = q.shape(0);
  require_shape("q", q, {n, s.heads, s.dim});
  require_shape("k", k, {s.kv_heads, n, s.dim});
  require_shape("v", v, {s.kv_heads, n, s.dim});
  if (out) require_shape("out", *out, {n, s.heads, s.dim});
  const Computing computing;
  require_finite("q", q.data(), q.size());
  require_finite("k", k.data(), k.size());
  require_finite("v", v.data(), v.size());
  s.cache.forward(counted("layer", layer), {.n = n, .q = q.data(), .k = k.data(), .v = v.data()},
                  out ? out->data() : nullptr);
}

void forward_together(const std::vector<PyKvCache*>& caches, std::int64_t layer, const In<3>& q,
                      const In<3>& k, const In<3>& v, const Out<3>& out) {
  if (caches.empty()) return;
  const PyKvCache& s = *caches[0];
  require_shape("q", q, {caches.size(), s.heads, s.dim});
  require_shape("k", k, {caches.size(), s.kv_heads, s.dim});
  require_shape("v", v, {caches.size(), s.kv_heads, s.dim});
  require_shape("out", out, {caches.size(), s.heads, s.dim});
  std::vector<KvCache*> inner;
  for (PyKvCache* cache : caches) inner.push_back(&cache->cache);
  const Computing computing;
  require_finite("q", q.data(), q.size());
  require_finite("k", k.data(), k.size());
  require_finite("v", v.data(), v.size());
  KvCache::forward_together(inner, counted("layer", layer), q.data(), k.data(), v.data(), out.data());
}

}  // namespace

void bind_kv_cache(nb::module_& m) {
  nb::class_<KvLayer>(m, "KvLayer", "One layer's attention.")
      .def(
          "__init__",
          [](KvLayer* self, std::int64_t sliding_window, float scale, float softcap, bool sinks) {
            new (self) KvLayer{.sliding_window = {}, .scale = scale, .softcap = softcap, .sinks = sinks};
            if (sliding_window != 0) self->sliding_window = counted("sliding_window", sliding_window);
          },
          nb::kw_only(), nb::arg("sliding_window") = 0, nb::arg("scale") = 0.0F, nb::arg("softcap") = 0.0F,
          nb::arg("sinks") = false,
          "sliding_window: latest positions a query sees, 0: all. scale: of logits, 0: 1 / sqrt(D). "
          "softcap:\n"
          "of logits, 0: none. sinks: a logit per query head joins the softmax; KvCache.set_sinks().");
  nb::class_<PyKvCache>(
      m, "KvCache",
      "The KV cache of one sequence, for queries, keys and values computed elsewhere.\n\n"
      "In the shapes: H query heads, Hkv KV heads, D head dimension, n tokens of a call; all "
      "float32.")
      .def(
          "__init__",
          [](PyKvCache* self, const SpecArgument& spec, std::int64_t query_heads, std::int64_t kv_heads,
             std::int64_t head_dim, const std::vector<KvLayer>& layers,
             const std::vector<float>& inverse_frequencies, bool interleaved) {
            KvCache cache({.query_heads = counted("query_heads", query_heads),
                           .kv_heads = counted("kv_heads", kv_heads),
                           .head_dim = counted("head_dim", head_dim),
                           .layers = layers,
                           .inverse_frequencies = inverse_frequencies,
                           .interleaved = interleaved},
                          spec.spec());
            new (self) PyKvCache{std::move(cache), static_cast<std::size_t>(query_heads),
                                 static_cast<std::size_t>(kv_heads), static_cast<std::size_t>(head_dim)};
          },
          nb::arg("spec"), nb::kw_only(), nb::arg("query_heads"), nb::arg("kv_heads"), nb::arg("head_dim"),
          nb::arg("layers"), nb::arg("inverse_frequencies") = std::vector<float>(),
          nb::arg("interleaved") = false,
          "inverse_frequencies: of RoPE, [R/2], which expected and compactor undo; empty: keys have no\n"
          "positions in them. interleaved: channel 2i turns with 2i + 1, else i with i + R/2. Raises Error.")
      .def(
          "set_sinks",
          [](PyKvCache& s, std::int64_t layer, const std::vector<float>& sinks) {
            s.cache.set_sinks(counted("layer", layer), sinks);
          },
          nb::arg("layer"), nb::arg("sinks"), "[H], before the layer's first tokens.")
      .def("forward", &forward, nb::arg("layer"), nb::arg("q"), nb::arg("k"), nb::arg("v"),
           nb::arg("out").noconvert().none(),
           "A layer sees n more tokens: each attends to what is held and to those of the call.\n\n"
           "q [n, H, D], k and v [Hkv, n, D] after RoPE; out [n, H, D] is written. A layer's first tokens "
           "are\n"
           "its prompt, which is compressed. Layers come in order in every call. Raises Error.")
      .def_static("forward_together", &forward_together, nb::arg("caches"), nb::arg("layer"), nb::arg("q"),
                  nb::arg("k"), nb::arg("v"), nb::arg("out").noconvert(),
                  "One token of each of B sequences: q, out [B, H, D], k and v [B, Hkv, D].")
      .def(
          "attend",
          [](const PyKvCache& s, std::int64_t layer, const In<3>& q, const Out<3>& out) {
            require_shape("q", q, {q.shape(0), s.heads, s.dim});
            require_shape("out", out, {q.shape(0), s.heads, s.dim});
            const Computing computing;
            s.cache.attend(counted("layer", layer), q.shape(0), q.data(), out.data());
          },
          nb::arg("layer"), nb::arg("q"), nb::arg("out").noconvert(),
          "Attention of queries [n, H, D] that stand after the last token; nothing is stored.")
      .def(
          "fork",
          [](const PyKvCache& s, std::int64_t tokens) {
            return PyKvCache{s.cache.fork(counted("tokens", tokens)), s.heads, s.kv_heads, s.dim};
          },
          nb::arg("tokens"),
          "The cache as it was after its first tokens; what both hold is stored once. Raises Error where "
          "tokens\n"
          "have been dropped since.")
      .def_prop_ro("tokens_seen", [](const PyKvCache& s) { return s.cache.tokens_seen(); })
      .def(
          "kept_tokens",
          [](const PyKvCache& s, std::int64_t layer, std::int64_t h) {
            return s.cache.kept_tokens(counted("layer", layer), counted("kv_head", h));
          },
          nb::arg("layer"), nb::arg("kv_head"), "Positions that a KV head holds, ascending.")
      .def(
          "kept_channels",
          [](const PyKvCache& s, std::int64_t layer, std::int64_t h) {
            return s.cache.kept_channels(counted("layer", layer), counted("kv_head", h));
          },
          nb::arg("layer"), nb::arg("kv_head"), "Key channels of its thin segment, ascending.")
      .def("report", [](const PyKvCache& s) { return s.cache.report(); })
      .def_prop_ro(
          "bytes_allocated", [](const PyKvCache& s) { return s.cache.bytes_allocated(); },
          "The allocator's count, of all forks together.");
}

}  // namespace thinkey::python
