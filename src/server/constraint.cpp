#include "server/constraint.h"

#include <algorithm>
#include <utility>

#include "formats/printable.h"
#include "server/schema/grammar_filter.h"
#include "server/schema/json_grammar.h"

namespace thinkey::server {

std::shared_ptr<const VocabularyTrie> Service::vocabulary() {
  std::call_once(vocabulary_once,
                 [this] { vocabulary_trie = std::make_shared<const VocabularyTrie>(*model); });
  return vocabulary_trie;
}

namespace {

using Filter = std::function<std::unique_ptr<TokenFilter>()>;

Filter filter_of(Service& service, FilterGrammar grammar) {
  static_cast<void>(GrammarAutomaton(grammar.grammar, grammar.start));  // a GrammarError is better had now
  return [trie = service.vocabulary(), grammar = std::make_shared<const FilterGrammar>(std::move(grammar))] {
    return grammar_filter(trie, *grammar);
  };
}

// What a call looks like in one of the forms, from after its first marker to its end.
struct CallForm {
  std::string open;                  // before the name, what the trigger does not hold included
  std::string between;               // name and arguments
  std::string close;                 // after the arguments
  std::string trigger;               // that begins a call in free text
  std::string separator;             // of parallel calls; what they end with is `end`
  std::string begin, end;            // around all
  std::vector<std::string> markers;  // control tokens within
};

CallForm call_form(ToolForm form) {
  switch (form) {
    case ToolForm::Hermes:
      return {.open = "\n{\"name\": \"",
              .between = "\", \"arguments\": ",
              .close = "}\n</tool_call>",
              .trigger = "<tool_call>",
              .separator = "\n<tool_call>",
              .begin = "<tool_call>",
              .end = "",
              .markers = {"<tool_call>", "</tool_call>"}};
    case ToolForm::Llama3:
      return {.open = "{\"name\": \"",
              .between = "\", \"parameters\": ",
              .close = "}",
              .trigger = "",
              .separator = "; ",
              .begin = "",
              .end = "",
              .markers = {}};
    case ToolForm::Mistral:
      return {.open = "{\"name\": \"",
              .between = "\", \"arguments\": ",
              .close = "}",
              .trigger = "[TOOL_CALLS]",
              .separator = ", ",
              .begin = "[TOOL_CALLS][",
              .end = "]",
              .markers = {"[TOOL_CALLS]"}};
    case ToolForm::MistralArgs:
      return {.open = "",
              .between = "[ARGS]",
              .close = "",
              .trigger = "[TOOL_CALLS]",
              .separator = "[TOOL_CALLS]",
              .begin = "[TOOL_CALLS]",
              .end = "",
              .markers = {"[TOOL_CALLS]", "[ARGS]"}};
    default:
      return {.open = "<|channel|>commentary to=functions.",
              .between = " <|constrain|>json<|message|>",
              .close = "",
              .trigger = "",
              .separator = "",
              .begin = "",
              .end = "",
              .markers = {"<|channel|>", "<|constrain|>", "<|message|>"}};
  }
}

// A call of one of the prompt's tools, or of the one that is forced.
Grammar::Rule any_call(Grammar& grammar, JsonGrammar& json, const ChatPrompt& prompt, const CallForm& form) {
  const Grammar::Rule rule = grammar.new_rule();
  for (std::size_t i = 0; i < prompt.tools.size(); ++i) {
    const Tool& tool = prompt.tools[i];
    if (!prompt.forced_tool.empty() && tool.name != prompt.forced_tool) continue;
    const bool checked =
        (tool.strict || prompt.must_call) && !tool.parameters.is_null() && !tool.parameters.empty();
    const Grammar::Rule arguments =
        checked ? json.schema(tool.parameters, fmt::format("tools[{}].function.parameters", i))
                : json.any_object();
    grammar.add(rule, grammar.literal(form.open + tool.name + form.between) +
                          Grammar::Sequence{Grammar::call(arguments)} + grammar.literal(form.close));
  }
  return rule;
}

Filter forced_calls(const ChatPrompt& prompt, Service& service) {
  FilterGrammar out;
  JsonGrammar json(out.grammar);
  const CallForm form = call_form(prompt.form);
  Grammar& g = out.grammar;
  const Grammar::Rule call = any_call(g, json, prompt, form);
  Grammar::Rule more = g.rule({g.literal(form.end)});
  if (prompt.parallel && !form.separator.empty()) {
    const Grammar::Rule again = g.new_rule();
    g.add(again, g.literal(form.end));
    g.add(again, g.literal(form.separator) + Grammar::Sequence{Grammar::call(call), Grammar::call(again)});
    more = again;
  }
  out.start = g.rule({g.literal(form.begin) + Grammar::Sequence{Grammar::call(call), Grammar::call(more)}});
  out.markers = form.markers;
  return filter_of(service, std::move(out));
}

// Free text, in which calls, should there be any, are of tools that exist, and strict ones satisfy their
// schema.
Filter strict_calls(const ChatPrompt& prompt, Service& service) {
  const CallForm form = call_form(prompt.form);
  if (form.trigger.empty()) {
    refuse("tools", "\"strict\" tools need a \"tool_choice\" that calls one with this model's form of calls");
  }
  FilterGrammar out;
  JsonGrammar json(out.grammar);
  Grammar& g = out.grammar;
  const Grammar::Rule call = any_call(g, json, prompt, form);
  const std::string rest = form.begin.substr(form.trigger.size());
  out.start = g.rule({g.literal(rest) + Grammar::Sequence{Grammar::call(call)} + g.literal(form.end)});
  out.markers = form.markers;
  out.trigger = form.trigger;
  return filter_of(service, std::move(out));
}

Filter formatted(const OrderedJson& format, const ChatPrompt& prompt, Service& service) {
  RequestFields fields(format, "response_format.");
  const std::string type = fields.require_text("type");
  if (type == "text") {
    fields.finish();
    return {};
  }
  if (!prompt.tools.empty()) fields.fail("type", "cannot be combined with tools");
  FilterGrammar out;
  JsonGrammar json(out.grammar);
  if (type == "json_object") {
    out.start = json.any_object();
  } else if (type == "json_schema") {
    const OrderedJson* wrapped = fields.object("json_schema");
    if (wrapped == nullptr) fields.fail("json_schema", "is missing");
    RequestFields inner(*wrapped, "response_format.json_schema.");
    inner.ignore({"name", "description", "strict"});
    const OrderedJson* schema = inner.find("schema");
    if (schema == nullptr) inner.fail("schema", "is missing");
    inner.finish();
    out.start = json.schema(*schema, "response_format.json_schema.schema");
  } else {
    fields.fail("type",
                fmt::format("must be text, json_object or json_schema, not \"{}\"", printable(type, 40)));
  }
  fields.finish();
  if (prompt.form == ToolForm::Harmony) {  // an answer is a message of its final channel
    Grammar& g = out.grammar;
    out.start =
        g.rule({g.literal("<|channel|>final<|message|>") + Grammar::Sequence{Grammar::call(out.start)}});
    out.markers = {"<|channel|>", "<|message|>"};
  }
  return filter_of(service, std::move(out));
}

}  // namespace

Filter chat_constraint(const OrderedJson* response_format, const ChatPrompt& prompt, Service& service) {
  const char* field = "response_format";
  try {
    Filter format;
    if (response_format != nullptr) format = formatted(*response_format, prompt, service);
    field = "tools";
    if (prompt.must_call) return forced_calls(prompt, service);
    if (std::any_of(prompt.tools.begin(), prompt.tools.end(), [](const Tool& tool) { return tool.strict; })) {
      return strict_calls(prompt, service);
    }
    return format;
  } catch (const GrammarError& error) {
    refuse(field, "\"{}\" cannot be enforced: {}", field, error.what());
  }
}

OfferedTools set_prompt(ChatPrompt prompt, const OrderedJson* response_format, Service& service,
                        GenerationRequest& out) {
  OfferedTools offered{.form = prompt.form, .names = {}};
  for (const Tool& tool : prompt.tools) offered.names.push_back(tool.name);
  out.special_text =
      offered.form == ToolForm::Harmony || (!offered.names.empty() && needs_control_tokens(offered.form));
  if (offered.form == ToolForm::Harmony) out.stop.emplace_back("<|call|>");
  out.filter = chat_constraint(response_format, prompt, service);
  out.prompt = std::move(prompt.tokens);
  return offered;
}

}  // namespace thinkey::server
