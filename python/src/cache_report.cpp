// thinkey/cache_report.h
#include "thinkey/cache_report.h"

#include <nanobind/stl/vector.h>

#include "binding.h"

namespace thinkey::python {

void bind_cache_report(nb::module_& m) {
  nb::class_<LayerCacheReport>(m, "LayerCacheReport", "What one layer of a cache holds.")
      .def_ro("tokens_kept", &LayerCacheReport::tokens_kept, "Mean over KV heads, recent tokens included.")
      .def_ro("channels_kept", &LayerCacheReport::channels_kept,
              "Key channels of the thin segment, mean over KV heads.")
      .def_ro("value_channels_kept", &LayerCacheReport::value_channels_kept, "Likewise of values.")
      .def_ro("bytes", &LayerCacheReport::bytes, "Allocated for this layer.")
      .def_ro("full_bytes", &LayerCacheReport::full_bytes, "Whole keys and values of what it sees, in f16.")
      .def_ro("sliding_window", &LayerCacheReport::sliding_window,
              "It sees, and holds, the latest so many tokens; 0: all.");
  nb::class_<CacheReport>(m, "CacheReport", "What a cache holds and what it costs.")
      .def_ro("spec", &CacheReport::spec, "Canonical cache spec.")
      .def_ro("tokens_seen", &CacheReport::tokens_seen, "Prompt and generated.")
      .def_ro("head_dim", &CacheReport::head_dim, "D.")
      .def_ro("layers", &CacheReport::layers)
      .def_ro("bytes", &CacheReport::bytes, "Allocated, positions and tables included.")
      .def_ro("full_bytes", &CacheReport::full_bytes, "2 * 2 * Hkv * D * min(T, window), over the layers.")
      .def_prop_ro("share_of_full", &CacheReport::share_of_full, "bytes / full_bytes; 0 for an empty cache.")
      .def("__repr__", [](const CacheReport& r) {
        return "CacheReport(spec='" + r.spec + "', tokens_seen=" + std::to_string(r.tokens_seen) +
               ", bytes=" + std::to_string(r.bytes) + ", full_bytes=" + std::to_string(r.full_bytes) + ")";
      });
}

}  // namespace thinkey::python
