// thinkey/chat.h, but for what belongs to a model
#include <nanobind/stl/vector.h>

#include "binding.h"
#include "chat_arguments.h"

namespace thinkey::python {

std::string to_json(const nb::object& value) {
  return nb::cast<std::string>(nb::module_::import_("json").attr("dumps")(value));
}

ChatOptions chat_options(bool add_generation_prompt, const nb::object& tools, const nb::object& documents,
                         const std::string& chat_template, const nb::object& variables) {
  ChatOptions options;
  options.add_generation_prompt = add_generation_prompt;
  if (!tools.is_none()) options.tools = to_json(tools);
  if (!documents.is_none()) options.documents = to_json(documents);
  if (!variables.is_none()) options.variables = to_json(variables);
  // Jinja text has a tag in it, a name has not.
  (chat_template.find("{") == std::string::npos ? options.template_name : options.template_source) =
      chat_template;
  return options;
}

void bind_chat(nb::module_& m) {
  m.def(
      "chat_template_names",
      [] {
        const auto names = chat_template_names();
        return std::vector<std::string>(names.begin(), names.end());
      },
      "Chat templates that come with thinkey: 'chatml', 'llama-3', ...");
}

}  // namespace thinkey::python
