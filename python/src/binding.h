// What the binding files share.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/stl/filesystem.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>

#include <filesystem>
#include <memory>
#include <mutex>
#include <vector>

#include "thinkey/cache_spec.h"
#include "thinkey/session.h"

namespace thinkey::python {

namespace nb = nanobind;

void bind_cache_report(nb::module_& m);
void bind_cache_spec(nb::module_& m);
void bind_chat(nb::module_& m);
void bind_model(nb::module_& m);
void bind_session(nb::module_& m);
void bind_generate(nb::module_& m);
void bind_kv_cache(nb::module_& m);
void bind_evaluate(nb::module_& m);

// A cache spec as an argument: text, or a thinkey.CacheSpec.
struct SpecArgument {
  nb::object value;
  [[nodiscard]] CacheSpec spec() const;
};
nb::object to_python(const CacheSpec& spec);

// A file's name: text or os.PathLike.
struct PathArgument {
  std::filesystem::path path;
};

// Where the engine computes: without the interpreter's lock, and with signals held back. Generated code
// (oneDNN's) may have pointed the stack pointer into the heap when one comes, and its frame would destroy
// what lies there; threads that the engine starts here inherit that.
class Computing {
 public:
  Computing();
  ~Computing();
  Computing(const Computing&) = delete;
  Computing& operator=(const Computing&) = delete;

  // Takes the lock back for a moment and lets signals in: what their handlers raise, and what `call` does, is
  // thrown.
  template <typename Call>
  void in_python(const Call& call) {
    open();
    const nb::gil_scoped_acquire lock;
    close_after([&] {
      if (PyErr_CheckSignals() != 0) throw nb::python_error();
      call();
    });
  }

 private:
  void open() noexcept;
  void close() noexcept;
  template <typename Call>
  void close_after(const Call& call) {
    call();
    close();
  }

  struct Mask;
  nb::gil_scoped_release release_;
  std::unique_ptr<Mask> mask_;
};

// A progress callback that also answers Ctrl-C; `callback` may be None.
[[nodiscard]] Session::Progress interruptible(Computing& computing, const nb::object& callback);

// A session and what keeps two threads from using it, or forks of it, at once.
struct SharedSession {
  Session session;
  std::shared_ptr<const Model> model;
  std::shared_ptr<std::mutex> mutex = std::make_shared<std::mutex>();
};

}  // namespace thinkey::python

namespace nanobind::detail {
template <>
struct type_caster<thinkey::python::SpecArgument> {
  NB_TYPE_CASTER(thinkey::python::SpecArgument, const_name("thinkey.cache_spec.CacheSpec | str"))
  bool from_python(handle source, std::uint8_t, cleanup_list*) noexcept {
    value.value = borrow(source);
    return true;
  }
  static handle from_cpp(const thinkey::python::SpecArgument& argument, rv_policy, cleanup_list*) noexcept {
    return argument.value.inc_ref();
  }
};
template <>
struct type_caster<thinkey::python::PathArgument> {
  // As the standard path's, but with the type in full, which mypy --strict asks for.
  NB_TYPE_CASTER(thinkey::python::PathArgument, const_name("str | os.PathLike[str]"))
  bool from_python(handle source, std::uint8_t flags, cleanup_list* cleanup) noexcept {
    make_caster<std::filesystem::path> inner;
    if (!inner.from_python(source, flags, cleanup)) return false;
    value.path = std::move(inner.value);
    return true;
  }
};
}  // namespace nanobind::detail
