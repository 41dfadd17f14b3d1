#include "tokenizer/chat_template.h"

#include <fmt/ranges.h>

#include <array>
#include <utility>
#include <vector>

#include "base/fail.h"
#include "tokenizer/utf8.h"

namespace thinkey {

namespace {

constexpr std::array<std::pair<ChatFormat, std::string_view>, 9> kNames{{
    {ChatFormat::Llama2, "llama2"},
    {ChatFormat::Llama3, "llama3"},
    {ChatFormat::MistralV01, "mistral-v0.1"},
    {ChatFormat::Mistral, "mistral"},
    {ChatFormat::MistralSpaced, "mistral-spaced"},
    {ChatFormat::MistralV03, "mistral-v0.3"},
    {ChatFormat::MistralCompact, "mistral-compact"},
    {ChatFormat::ChatML, "chatml"},
    {ChatFormat::Zephyr, "zephyr"},
}};

// What Jinja's trim removes: Python's str.isspace.
bool is_python_space(char32_t character) {
  return (character >= 0x9 && character <= 0xD) || (character >= 0x1C && character <= 0x20) ||
         character == 0x85 || character == 0xA0 || character == 0x1680 ||
         (character >= 0x2000 && character <= 0x200A) || character == 0x2028 || character == 0x2029 ||
         character == 0x202F || character == 0x205F || character == 0x3000;
}

std::string_view trim(std::string_view text) {
  std::size_t begin = text.size();
  std::size_t end = 0;
  for (std::size_t at = 0; at < text.size();) {
    const Utf8Step step = next_utf8(text.substr(at));
    if (step.status != Utf8Status::Valid || !is_python_space(step.character)) {
      begin = std::min(begin, at);
      end = at + step.bytes;
    }
    at += step.bytes;
  }
  return begin < end ? text.substr(begin, end - begin) : std::string_view();
}

// The literal text around a turn. A question is opened, written and closed; the answer follows,
// ended by the model's own token; `between` comes before the next turn.
struct QuestionForm {
  std::string_view open, close;
  std::string_view before_answer, after_answer, end_of_turn, between;
  std::string_view system_open, system_close;
  bool trims_question, trims_answer;
};

QuestionForm question_form(ChatFormat format) {
  constexpr std::string_view kEnd = "</s>";
  switch (format) {
    case ChatFormat::Llama2:
      // Every exchange is a sequence of its own; the first BOS comes from the tokenizer.
      return {"[INST] ", " [/INST]", " ", " ", kEnd, "<s>", "<<SYS>>\n", "\n<</SYS>>\n\n", true, true};
    case ChatFormat::MistralV01:
      return {"[INST] ", " [/INST]", "", "", kEnd, " ", "", "\n\n", false, false};
    case ChatFormat::MistralSpaced:
      return {" [INST] ", " [/INST]", " ", "", kEnd, "", "", "\n\n", false, true};
    case ChatFormat::MistralV03:
      return {"[INST] ", "[/INST]", " ", "", kEnd, "", "", "\n\n", false, true};
    case ChatFormat::MistralCompact:
      return {"[INST]", "[/INST]", "", "", kEnd, "", "", "\n\n", false, false};
    default:
      return {"[INST] ", " [/INST]", "", "", kEnd, "", "", "\n\n", false, false};
  }
}

void check_alternation(std::span<const ChatMessage> messages, std::size_t turns_from) {
  for (std::size_t i = turns_from; i < messages.size(); ++i) {
    const std::string_view expected = (i - turns_from) % 2 == 0 ? "user" : "assistant";
    if (messages[i].role != expected) {
      fail_usage(
          "chat: message {} is the {}'s where this format wants the {}'s: after an optional first "
          "system message, questions and answers must alternate",
          i, messages[i].role, expected);
    }
  }
}

// Llama 2 and Mistral.
std::string render_questions(const QuestionForm& form, std::span<const ChatMessage> messages,
                             std::size_t first, bool answer_ended) {
  const bool has_system = messages[0].role == "system";
  const std::size_t turns_from = has_system ? 1 : 0;
  check_alternation(messages, turns_from);

  std::string text;
  for (std::size_t i = std::max(first, turns_from); i < messages.size(); ++i) {
    const ChatMessage& message = messages[i];
    if (message.role == "assistant") {
      text += form.before_answer;
      text += form.trims_answer ? trim(message.content) : std::string_view(message.content);
      text += form.after_answer;
      text += form.end_of_turn;
      continue;
    }
    const bool follows_answer = i > turns_from;
    if (follows_answer) {
      if (i == first && !answer_ended) {
        text += form.after_answer;
        text += form.end_of_turn;
      }
      text += form.between;
    }
    std::string question;
    if (has_system && i == turns_from) {
      question += form.system_open;
      question += messages[0].content;
      question += form.system_close;
    }
    question += message.content;
    text += form.open;
    text += form.trims_question ? trim(question) : std::string_view(question);
    text += form.close;
  }
  return text;
}

// Formats in which every turn, whoever speaks, is a header, the content and an end.
struct TurnForm {
  std::string_view before_role, after_role, end_of_turn, between;
  bool trims;
};

TurnForm turn_form(ChatFormat format) {
  switch (format) {
    case ChatFormat::Llama3:
      return {"<|start_header_id|>", "<|end_header_id|>\n\n", "<|eot_id|>", "", true};
    case ChatFormat::ChatML:
      return {"<|im_start|>", "\n", "<|im_end|>", "\n", false};
    default:
      return {"<|", "|>\n", "</s>", "\n", false};
  }
}

// Llama 3, ChatML and Zephyr.
std::string render_turns(const TurnForm& form, std::span<const ChatMessage> messages, std::size_t first,
                         bool answer_ended) {
  const auto header = [&form](std::string_view role) {
    return fmt::format("{}{}{}", form.before_role, role, form.after_role);
  };
  // A turn of the system or the user is followed at once by what separates it from the next; an
  // answer's end waits until there is a next turn.
  std::string text;
  for (std::size_t i = first; i < messages.size(); ++i) {
    const ChatMessage& message = messages[i];
    const bool after_answer = i > 0 && messages[i - 1].role == "assistant";
    if (after_answer) {
      if (i == first && !answer_ended) text += form.end_of_turn;
      text += form.between;
    }
    // After a question the header that asks for the answer has been written already.
    const bool answers = message.role == "assistant" && i > 0 && messages[i - 1].role == "user";
    if (!answers) text += header(message.role);
    text += form.trims ? trim(message.content) : std::string_view(message.content);
    text += form.end_of_turn;
    if (message.role != "assistant") text += form.between;
    const bool asks =
        message.role == "user" && (i + 1 == messages.size() || messages[i + 1].role == "assistant");
    if (asks) text += header("assistant");
  }
  return text;
}

}  // namespace

std::string_view chat_format_name(ChatFormat format) noexcept {
  for (const auto& [known, name] : kNames) {
    if (known == format) return name;
  }
  return "unknown";
}

ChatFormat chat_format_from_name(std::string_view name) {
  std::vector<std::string_view> names;
  for (const auto& [format, known] : kNames) {
    if (known == name) return format;
    names.push_back(known);
  }
  fail_usage("unknown chat format \"{}\" (known: {})", name, fmt::join(names, ", "));
}

std::string render_chat(ChatFormat format, std::span<const ChatMessage> messages, std::size_t first,
                        bool answer_ended) {
  if (messages.empty()) fail_usage("chat: the conversation is empty");
  if (first > messages.size()) {
    fail_usage("chat: message {} is to be rendered next, but there are {}", first, messages.size());
  }
  for (const ChatMessage& message : messages) {
    if (message.role != "system" && message.role != "user" && message.role != "assistant") {
      fail_usage("chat: unknown role \"{}\" (known: system, user, assistant)", message.role);
    }
  }
  switch (format) {
    case ChatFormat::Llama3:
    case ChatFormat::ChatML:
    case ChatFormat::Zephyr:
      return render_turns(turn_form(format), messages, first, answer_ended);
    default:
      return render_questions(question_form(format), messages, first, answer_ended);
  }
}

}  // namespace thinkey
