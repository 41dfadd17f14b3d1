// A Jinja template: parsed once, rendered any number of times, by any number of threads.
//
// It is Jinja as transformers runs it: trim_blocks and lstrip_blocks on, loop controls, {% generation %},
// an immutable sandbox, tojson, raise_exception and strftime_now. Templates come from strangers: what they
// may take in steps, text and depth is bounded (budget.h), and nothing beyond the variables is reachable.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "jinja/value.h"

namespace thinkey::jinja {

struct Program;

class Template {
 public:
  // `name` stands in errors. Throws Error(Data) with the line.
  Template(std::string_view source, std::string name);
  ~Template();
  Template(Template&&) noexcept;
  Template& operator=(Template&&) noexcept;

  // `now`: seconds since 1970 for strftime_now; nullopt: the clock's. Throws Error(Data) with the template's
  // own message, where it raises one, and the line.
  [[nodiscard]] std::string render(const Dict& variables, std::optional<std::int64_t> now = {},
                                   const RenderLimits& limits = {}) const;

 private:
  std::unique_ptr<const Program> program_;
  std::string name_;
  std::size_t size_;
};

}  // namespace thinkey::jinja
