// Builds GGUF files byte by byte, so that a test can make exactly one thing wrong.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "formats/gguf.h"

namespace thinkey::testing {

template <typename T>
std::string raw(T value) {
  return {reinterpret_cast<const char*>(&value), sizeof(T)};
}

inline std::string raw_text(const std::string& text) { return raw(std::uint64_t{text.size()}) + text; }

// Values with their type in front, as they follow a key.
template <typename T>
std::string gguf_scalar(GgufType type, T value) {
  return raw(static_cast<std::uint32_t>(type)) + raw(value);
}
inline std::string gguf_u32(std::uint32_t value) { return gguf_scalar(GgufType::U32, value); }
inline std::string gguf_f32(float value) { return gguf_scalar(GgufType::F32, value); }
inline std::string gguf_text(const std::string& text) {
  return raw(static_cast<std::uint32_t>(GgufType::String)) + raw_text(text);
}
inline std::string gguf_array_body(GgufType element, std::uint64_t count, const std::string& elements) {
  return raw(static_cast<std::uint32_t>(element)) + raw(count) + elements;
}
inline std::string gguf_array(GgufType element, std::uint64_t count, const std::string& elements) {
  return raw(static_cast<std::uint32_t>(GgufType::Array)) + gguf_array_body(element, count, elements);
}
inline std::string gguf_texts(const std::vector<std::string>& texts) {
  std::string elements;
  for (const std::string& text : texts) elements += raw_text(text);
  return gguf_array(GgufType::String, texts.size(), elements);
}

struct GgufBuilder {
  struct Entry {
    std::string name;
    std::vector<std::uint64_t> extents;
    std::uint32_t type = 0;  // F32
    std::uint64_t offset = 0;
  };

  std::uint32_t version = 3;
  std::vector<std::pair<std::string, std::string>> values;
  std::vector<Entry> tensors;
  std::uint64_t data_bytes = 0;
  std::uint64_t alignment = 32;
  // Counts that the header claims beyond those present.
  std::uint64_t more_values = 0;
  std::uint64_t more_tensors = 0;

  void set(const std::string& key, const std::string& value) {
    for (auto& [known, old] : values) {
      if (known == key) {
        old = value;
        return;
      }
    }
    values.emplace_back(key, value);
  }
  void erase(const std::string& key) {
    values.erase(std::remove_if(values.begin(), values.end(), [&](const auto& v) { return v.first == key; }),
                 values.end());
  }
  Entry& tensor(const std::string& name) {
    return *std::find_if(tensors.begin(), tensors.end(), [&](const Entry& t) { return t.name == name; });
  }
  void add(const std::string& name, std::vector<std::uint64_t> extents) {
    tensors.push_back({name, std::move(extents)});
    place();
  }
  void remove(const std::string& name) {
    tensors.erase(
        std::remove_if(tensors.begin(), tensors.end(), [&](const Entry& t) { return t.name == name; }),
        tensors.end());
    place();
  }
  void resize(const std::string& name, std::vector<std::uint64_t> extents) {
    tensor(name).extents = std::move(extents);
    place();
  }
  // One behind the other, as F32.
  void place() {
    data_bytes = 0;
    for (Entry& t : tensors) {
      std::uint64_t bytes = 4;
      for (const std::uint64_t extent : t.extents) bytes *= extent;
      t.offset = data_bytes;
      data_bytes += (bytes + alignment - 1) / alignment * alignment;
    }
  }

  [[nodiscard]] std::string build() const {
    std::string out = "GGUF" + raw(version) + raw(std::uint64_t{tensors.size()} + more_tensors) +
                      raw(std::uint64_t{values.size()} + more_values);
    for (const auto& [key, value] : values) out += raw_text(key) + value;
    for (const Entry& t : tensors) {
      out += raw_text(t.name) + raw(static_cast<std::uint32_t>(t.extents.size()));
      for (const std::uint64_t extent : t.extents) out += raw(extent);
      out += raw(t.type) + raw(t.offset);
    }
    if (!tensors.empty()) out.resize((out.size() + alignment - 1) / alignment * alignment + data_bytes);
    return out;
  }
};

// One layer of width 16, 2 query heads of 8 channels on 1 KV head, 5 tokens; opens as it is.
inline GgufBuilder tiny_gguf(const std::string& architecture = "llama") {
  GgufBuilder file;
  const auto key = [&](const std::string& name) { return architecture + "." + name; };
  file.set("general.architecture", gguf_text(architecture));
  file.set(key("block_count"), gguf_u32(1));
  file.set(key("context_length"), gguf_u32(64));
  file.set(key("embedding_length"), gguf_u32(16));
  file.set(key("feed_forward_length"), gguf_u32(24));
  file.set(key("attention.head_count"), gguf_u32(2));
  file.set(key("attention.head_count_kv"), gguf_u32(1));
  file.set(key("attention.layer_norm_rms_epsilon"), gguf_f32(1e-5F));
  file.set("tokenizer.ggml.model", gguf_text("llama"));
  file.set("tokenizer.ggml.tokens", gguf_texts({"<unk>", "<s>", "</s>", "a", "b"}));
  file.set("tokenizer.ggml.scores", gguf_array(GgufType::F32, 5, std::string(20, '\0')));
  file.add("token_embd.weight", {16, 5});
  file.add("blk.0.attn_norm.weight", {16});
  file.add("blk.0.attn_q.weight", {16, 16});
  file.add("blk.0.attn_k.weight", {16, 8});
  file.add("blk.0.attn_v.weight", {16, 8});
  file.add("blk.0.attn_output.weight", {16, 16});
  file.add("blk.0.ffn_norm.weight", {16});
  file.add("blk.0.ffn_gate.weight", {16, 24});
  file.add("blk.0.ffn_up.weight", {16, 24});
  file.add("blk.0.ffn_down.weight", {24, 16});
  file.add("output_norm.weight", {16});
  file.add("output.weight", {16, 5});
  return file;
}

inline GgufBuilder tiny_vocabulary(const std::string& model, const std::vector<std::string>& tokens) {
  GgufBuilder file;
  file.set("tokenizer.ggml.model", gguf_text(model));
  file.set("tokenizer.ggml.tokens", gguf_texts(tokens));
  return file;
}

}  // namespace thinkey::testing
