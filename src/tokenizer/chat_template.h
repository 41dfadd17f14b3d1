// The chat formats of Llama-family models. The file's Jinja source is not executed: it is
// recognised as one of the known forms, each rendered by its own function.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "formats/model_file.h"
#include "thinkey/chat.h"

namespace thinkey {

// Mistral's templates differ in their spaces only; u and a stand for a question and its answer:
enum class ChatFormat : std::uint8_t {
  Llama2,
  Llama3,
  MistralV01,      // "[INST] u [/INST]a</s> [INST] ...": 7B v0.1 as first published
  Mistral,         // "[INST] u [/INST]a</s>[INST] ...": 7B v0.2 as first published
  MistralSpaced,   // " [INST] u [/INST] a</s> [INST] ...": 7B v0.1 and v0.2 as revised
  MistralV03,      // "[INST] u[/INST] a</s>[INST] ...": 7B v0.3
  MistralCompact,  // "[INST]u[/INST]a</s>[INST]...": Nemo (Tekken)
  ChatML,
  Zephyr,  // also TinyLlama
};

// By the template's text or, when the file has none, by the vocabulary's special tokens. A template
// that is present but of no known form is not guessed at. Throws Error(Data) naming the known forms.
[[nodiscard]] ChatFormat recognise_chat_format(const TokenizerData& data);

// The system message that a ChatML template writes itself when the conversation has none (SmolLM2's
// does); render_chat() does not add it.
[[nodiscard]] std::optional<std::string> default_system_message(const TokenizerData& data);

// "llama2", "llama3", "mistral-v0.1", "mistral", "mistral-spaced", "mistral-v0.3", "mistral-compact",
// "chatml", "zephyr".
[[nodiscard]] std::string_view chat_format_name(ChatFormat format) noexcept;
// Error(Usage) naming the choices when unknown.
[[nodiscard]] ChatFormat chat_format_from_name(std::string_view name);

// Renders messages[first..] as they continue a conversation whose earlier messages are already in
// the cache (first = 0: from the start, without BOS, which the tokenizer adds), ending with the
// header that asks the assistant to speak when the last message is the user's. Control tokens are
// written as text, to be encoded with parse_special. What a previous assistant turn still lacks
// before the next user turn (such as "<|im_end|>\n") is included at the front when first > 0;
// `answer_ended` says that the model itself already emitted its end-of-turn token.
//
// A conversation that ends with an assistant's message ends with its end-of-turn token; what follows
// it in the template belongs to the next turn. So the renderings of a conversation's parts join to
// the rendering of the whole.
//
// The system's message: its own turn in Llama3, ChatML and Zephyr; in Llama2 and Mistral, which have
// no such turn, part of the first question (alone it renders as ""). Llama3 is the 3.0 form: later
// templates also write the date, which is left out.
//
// Error(Usage): first > messages.size(), a role other than the three, a system message after the
// first place or turns that do not alternate in Llama2 and Mistral, an empty conversation.
[[nodiscard]] std::string render_chat(ChatFormat format, std::span<const ChatMessage> messages,
                                      std::size_t first = 0, bool answer_ended = true);

}  // namespace thinkey
