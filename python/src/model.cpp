// thinkey/model.h
#include "thinkey/model.h"

#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/vector.h>

#include "chat_arguments.h"
#include "thinkey/error.h"

namespace thinkey::python {
namespace {

PrefillPrecision prefill_precision(std::string_view word) {
  if (word == "auto") return PrefillPrecision::Auto;
  if (word == "bf16") return PrefillPrecision::BF16;
  if (word == "f32") return PrefillPrecision::F32;
  throw Error(ErrorKind::Usage, "precision: 'auto', 'bf16' or 'f32', not '" + std::string(word) + "'");
}

DecodePrecision decode_precision(std::string_view word) {
  if (word == "auto") return DecodePrecision::Auto;
  if (word == "f32") return DecodePrecision::F32;
  throw Error(ErrorKind::Usage, "decode_precision: 'auto' or 'f32', not '" + std::string(word) + "'");
}

PrefillWeights prefill_weights(std::string_view word) {
  if (word == "fresh") return PrefillWeights::Fresh;
  if (word == "kept") return PrefillWeights::Kept;
  if (word == "auto") return PrefillWeights::Auto;
  throw Error(ErrorKind::Usage,
              "prefill_weights: 'fresh', 'kept' or 'auto', not '" + std::string(word) + "'");
}

// Text that the engine has in UTF-8 but for pieces of characters, which become U+FFFD.
nb::str text_of(const std::string& bytes) {
  return nb::steal<nb::str>(
      PyUnicode_DecodeUTF8(bytes.data(), static_cast<Py_ssize_t>(bytes.size()), "replace"));
}

void bind_info(nb::module_& m) {
  nb::class_<ModelInfo>(m, "ModelInfo", "A model's hyperparameters and sizes.")
      .def_ro("architecture", &ModelInfo::architecture)
      .def_ro("name", &ModelInfo::name)
      .def_ro("container", &ModelInfo::container, "What the file is.")
      .def_ro("vocabulary", &ModelInfo::vocabulary, "V.")
      .def_ro("layers", &ModelInfo::layers)
      .def_ro("width", &ModelInfo::width, "d.")
      .def_ro("query_heads", &ModelInfo::query_heads, "H.")
      .def_ro("kv_heads", &ModelInfo::kv_heads, "Hkv.")
      .def_ro("head_dim", &ModelInfo::head_dim, "D.")
      .def_ro("ffn_width", &ModelInfo::ffn_width)
      .def_ro("context_length", &ModelInfo::context_length, "Tokens.")
      .def_ro("sliding_window", &ModelInfo::sliding_window, "The widest, in tokens; 0: none.")
      .def_ro("sliding_layers", &ModelInfo::sliding_layers)
      .def_ro("experts", &ModelInfo::experts)
      .def_ro("experts_used", &ModelInfo::experts_used)
      .def_ro("rope_theta", &ModelInfo::rope_theta)
      .def_ro("rope_scaling", &ModelInfo::rope_scaling)
      .def_ro("tied_output", &ModelInfo::tied_output)
      .def_ro("parameters", &ModelInfo::parameters)
      .def_ro("file_bytes", &ModelInfo::file_bytes)
      .def_ro("decode_bytes", &ModelInfo::decode_bytes, "Of weights that one decode step reads.")
      .def_ro("repacked_bytes", &ModelInfo::repacked_bytes, "Of weights copied into memory.")
      .def_ro("prefill_weight_bytes", &ModelInfo::prefill_weight_bytes, "Of weights kept for prompts.")
      .def_ro("decode_parameters", &ModelInfo::decode_parameters)
      .def_ro("has_tokenizer", &ModelInfo::has_tokenizer)
      .def_ro("metadata", &ModelInfo::metadata, "As the file says, for display.")
      .def_ro("bytes_by_tensor_type", &ModelInfo::bytes_by_tensor_type)
      .def_ro("prefill_arithmetic", &ModelInfo::prefill_arithmetic)
      .def_ro("decode_arithmetic", &ModelInfo::decode_arithmetic)
      .def_ro("quantized", &ModelInfo::quantized);
  nb::class_<MemoryEstimate>(m, "MemoryEstimate", "Bytes needed beside the weights, by purpose.")
      .def_ro("hidden_states", &MemoryEstimate::hidden_states)
      .def_ro("layer_kv", &MemoryEstimate::layer_kv, "One layer's whole K and V during prefill.")
      .def_ro("scratch", &MemoryEstimate::scratch)
      .def_ro("cache", &MemoryEstimate::cache, "Compressed caches of all layers.")
      .def_prop_ro("total", &MemoryEstimate::total);
}

}  // namespace

void bind_model(nb::module_& m) {
  bind_info(m);
  nb::class_<Model>(m, "Model", "A loaded model: weights, hyperparameters and tokenizer. Shared by sessions.")
      .def_static(
          "load",
          [](const PathArgument& file, int threads, std::string_view precision, std::string_view decode,
             bool repack, std::string_view prompts, bool check_finite) {
            const ModelOptions options{.threads = threads,
                                       .precision = prefill_precision(precision),
                                       .decode_precision = decode_precision(decode),
                                       .repack = repack,
                                       .prefill_weights = prefill_weights(prompts),
                                       .check_finite = check_finite};
            const Computing computing;
            return std::const_pointer_cast<Model>(Model::load(file.path, options));
          },
          nb::arg("path"), nb::kw_only(), nb::arg("threads") = 0, nb::arg("precision") = "auto",
          nb::arg("decode_precision") = "auto", nb::arg("repack") = true,
          nb::arg("prefill_weights") = "fresh", nb::arg("check_finite") = false,
          "A .gguf file or a Hugging Face directory.\n\n"
          "threads: 0 for all cores; process-wide. precision: of prefill, 'auto', 'bf16' or 'f32'.\n"
          "decode_precision: 'auto' (8-bit activations where the CPU has such products) or 'f32'.\n"
          "repack: copies quantized weights into an order that decodes faster, at their bytes once more.\n"
          "prefill_weights: their 8 bits that multiply prompts: 'fresh' for every prompt, 'kept' (faster "
          "short\n"
          "prompts, at a byte for each) or 'auto' (kept if they take an eighth of the memory at most).\n"
          "check_finite: looks for NaN after every layer. Raises Error.")
      .def_prop_ro("info", &Model::info, nb::rv_policy::reference_internal)
      .def(
          "tokenize",
          [](const Model& model, std::string_view text, bool add_special, bool parse_special) {
            return model.tokenize(text, {.add_special = add_special, .parse_special = parse_special});
          },
          nb::arg("text"), nb::kw_only(), nb::arg("add_special") = true, nb::arg("parse_special") = false,
          "Token ids. add_special: BOS and EOS as the model's file says. parse_special: control tokens\n"
          "written in the text are recognised. Raises Error for a model without tokenizer.")
      .def(
          "detokenize",
          [](const Model& model, const std::vector<std::int32_t>& ids, bool special) {
            return text_of(model.detokenize(ids, special));
          },
          nb::arg("ids"), nb::kw_only(), nb::arg("special") = false,
          "Text of token ids; special: control tokens are written. Broken characters become U+FFFD.")
      .def("ends_generation", &Model::ends_generation, nb::arg("id"), "Whether the token ends an answer.")
      .def_prop_ro("bos", &Model::bos, "The BOS token's id; -1: none.")
      .def(
          "apply_chat_template",
          [](const Model& model, const nb::object& messages, bool add_generation_prompt,
             const nb::object& tools, const nb::object& documents, const std::string& chat_template,
             const nb::object& variables) {
            return text_of(model.render_chat_json(
                to_json(messages),
                chat_options(add_generation_prompt, tools, documents, chat_template, variables)));
          },
          nb::arg("messages"), nb::kw_only(), nb::arg("add_generation_prompt") = true,
          nb::arg("tools") = nb::none(), nb::arg("documents") = nb::none(), nb::arg("chat_template") = "",
          nb::arg("variables") = nb::none(),
          nb::sig(
              "def apply_chat_template(self, messages: collections.abc.Sequence[collections.abc.Mapping[str, "
              "object]], *, add_generation_prompt: bool = True, tools: "
              "collections.abc.Sequence[object] | None = None, documents: "
              "collections.abc.Sequence[object] | None = None, chat_template: str = '', variables: "
              "collections.abc.Mapping[str, object] | None = None) -> str"),
          "Text of a conversation, as the model's chat template writes it.\n\n"
          "messages: dicts with role and content. chat_template: a name (Model's own, or one of\n"
          "chat_template_names()) or Jinja text; '' for the model's. variables: further ones, such as\n"
          "{'enable_thinking': False}. Raises Error with the template's own message.")
      .def("tokenize_chat", &Model::tokenize_chat, nb::arg("text"),
           "Token ids of a rendered conversation: control tokens are recognised, BOS stands in front once.")
      .def(
          "estimate",
          [](const Model& model, const SpecArgument& cache, std::size_t prompt, std::size_t generate) {
            return model.estimate(cache.spec(), prompt, generate);
          },
          nb::arg("cache"), nb::arg("prompt"), nb::arg("generate") = 0,
          "Bytes needed beside the weights for so many tokens of prompt and answer.")
      .def(
          "estimate_cache",
          [](const Model& model, const SpecArgument& cache, std::size_t tokens) {
            return model.estimate_cache(cache.spec(), tokens);
          },
          nb::arg("cache"), nb::arg("tokens"),
          "The report of a cache after a prompt of so many tokens, without running anything.");
}

}  // namespace thinkey::python
