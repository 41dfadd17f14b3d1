#include "engine/chat_templates.h"

#include <array>
#include <string>

#include "thinkey/chat.h"

namespace thinkey {

namespace {

// Every turn is a header, its content and an end: the forms differ in these words only.
constexpr std::string_view kChatMl = R"jinja(
{%- for message in messages %}
    {{- '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %})jinja";

constexpr std::string_view kLlama3 = R"jinja(
{{- bos_token }}
{%- for message in messages %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' + message['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %})jinja";

constexpr std::string_view kZephyr = R"jinja(
{%- for message in messages %}
    {{- '<|' + message['role'] + '|>\n' + message['content'] + eos_token + '\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %})jinja";

constexpr std::string_view kPhi3 = R"jinja(
{%- for message in messages %}
    {{- '<|' + message['role'] + '|>\n' + message['content'] + '<|end|>\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %})jinja";

constexpr std::string_view kGemma = R"jinja(
{{- bos_token }}
{%- set ns = namespace(system='') %}
{%- for message in messages %}
    {%- if message['role'] == 'system' %}
        {%- if not loop.first %}{{ raise_exception('the system message must come first') }}{% endif %}
        {%- set ns.system = message['content'] | trim + '\n\n' %}
        {%- continue %}
    {%- endif %}
    {%- set role = 'model' if message['role'] == 'assistant' else message['role'] %}
    {{- '<start_of_turn>' + role + '\n' + ns.system + message['content'] | trim + '<end_of_turn>\n' }}
    {%- set ns.system = '' %}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %})jinja";

// Questions in brackets, with the system message inside the first one.
constexpr std::string_view kLlama2 = R"jinja(
{%- set ns = namespace(system='', asks=true) %}
{%- for message in messages %}
    {%- if message['role'] == 'system' %}
        {%- if not loop.first %}{{ raise_exception('the system message must come first') }}{% endif %}
        {%- set ns.system = '<<SYS>>\n' + message['content'] + '\n<</SYS>>\n\n' %}
        {%- continue %}
    {%- endif %}
    {%- if message['role'] != ('user' if ns.asks else 'assistant') %}
        {{- raise_exception('after an optional system message, roles must alternate user/assistant') }}
    {%- endif %}
    {%- if ns.asks %}
        {{- bos_token + '[INST] ' + (ns.system + message['content']) | trim + ' [/INST]' }}
        {%- set ns.system = '' %}
    {%- else %}
        {{- ' ' + message['content'] | trim + ' ' + eos_token }}
    {%- endif %}
    {%- set ns.asks = not ns.asks %}
{%- endfor %})jinja";

// Mistral's tokenizers differ in their spaces; what comes before this says which.
constexpr std::string_view kMistral = R"jinja(
{{- bos_token }}
{%- set ns = namespace(system='', asks=true) %}
{%- for message in messages %}
    {%- if message['role'] == 'system' %}
        {%- if not loop.first %}{{ raise_exception('the system message must come first') }}{% endif %}
        {%- set ns.system = message['content'] + '\n\n' %}
        {%- continue %}
    {%- endif %}
    {%- if message['role'] != ('user' if ns.asks else 'assistant') %}
        {{- raise_exception('after an optional system message, roles must alternate user/assistant') }}
    {%- endif %}
    {%- if ns.asks %}
        {{- open + ns.system + message['content'] + close }}
        {%- set ns.system = '' %}
    {%- else %}
        {{- before + (message['content'] | trim if before else message['content']) + eos_token }}
    {%- endif %}
    {%- set ns.asks = not ns.asks %}
{%- endfor %})jinja";

struct BuiltIn {
  std::string_view name, settings, source;
};

constexpr std::array<BuiltIn, 9> kTemplates{{
    {"chatml", "", kChatMl},
    {"gemma", "", kGemma},
    {"llama-2", "", kLlama2},
    {"llama-3", "", kLlama3},
    {"mistral-v1", "{% set open, close, before = ' [INST] ', ' [/INST]', ' ' %}", kMistral},
    {"mistral-v3", "{% set open, close, before = '[INST] ', '[/INST]', ' ' %}", kMistral},
    {"mistral-v3-tekken", "{% set open, close, before = '[INST]', '[/INST]', '' %}", kMistral},
    {"phi-3", "", kPhi3},
    {"zephyr", "", kZephyr},
}};

}  // namespace

std::vector<std::string_view> chat_template_names() {
  std::vector<std::string_view> names;
  for (const BuiltIn& known : kTemplates) names.push_back(known.name);
  return names;
}

std::optional<std::string> find_chat_template(std::string_view name) {
  for (const BuiltIn& known : kTemplates) {
    if (known.name == name) return std::string(known.settings).append(known.source);
  }
  return std::nullopt;
}

}  // namespace thinkey
