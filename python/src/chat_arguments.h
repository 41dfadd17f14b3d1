// Conversations as Python writes them.
#pragma once

#include <string>

#include "binding.h"
#include "thinkey/chat.h"

namespace thinkey::python {

[[nodiscard]] std::string to_json(const nb::object& value);
[[nodiscard]] ChatOptions chat_options(bool add_generation_prompt, const nb::object& tools,
                                       const nb::object& documents, const std::string& chat_template,
                                       const nb::object& variables);

}  // namespace thinkey::python
