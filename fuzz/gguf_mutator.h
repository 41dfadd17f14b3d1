// Takes a GGUF file apart, so that a mutation leaves its counts, lengths and places consistent and reaches
// what lies behind the header's checks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max)
    __attribute__((weak));

namespace thinkey::fuzz {

struct GgufPieces {
  struct Tensor {
    std::string name;
    std::vector<std::uint64_t> extents;
    std::uint32_t type = 0;
    std::uint64_t offset = 0;
  };
  std::uint32_t version = 3;
  std::vector<std::pair<std::string, std::string>> values;  // key; type and value as they lie in the file
  std::vector<Tensor> tensors;
  std::string data;

  [[nodiscard]] std::string build() const {
    std::string out = "GGUF";
    const auto put = [&](auto value) { out.append(reinterpret_cast<const char*>(&value), sizeof(value)); };
    const auto text = [&](const std::string& t) {
      put(std::uint64_t{t.size()});
      out += t;
    };
    put(version);
    put(std::uint64_t{tensors.size()});
    put(std::uint64_t{values.size()});
    for (const auto& [key, value] : values) {
      text(key);
      out += value;
    }
    for (const Tensor& t : tensors) {
      text(t.name);
      put(static_cast<std::uint32_t>(t.extents.size()));
      for (const std::uint64_t extent : t.extents) put(extent);
      put(t.type);
      put(t.offset);
    }
    out.resize((out.size() + 31) / 32 * 32);
    return out + data;
  }
};

class GgufPieceReader {
 public:
  GgufPieceReader(const std::uint8_t* data, std::size_t size) : data_(data), size_(size) {}

  // nullopt unless the whole header can be followed.
  std::optional<GgufPieces> read() {
    GgufPieces out;
    if (size_ < 4 || std::memcmp(data_, "GGUF", 4) != 0) return std::nullopt;
    at_ = 4;
    out.version = number<std::uint32_t>();
    const auto tensors = number<std::uint64_t>();
    const auto values = number<std::uint64_t>();
    for (std::uint64_t i = 0; i < values && good_; ++i) {
      std::string key = text();
      const std::size_t begin = at_;
      skip_value(number<std::uint32_t>(), 0);
      if (good_) out.values.emplace_back(std::move(key), std::string(chars(begin), at_ - begin));
    }
    for (std::uint64_t i = 0; i < tensors && good_; ++i) {
      GgufPieces::Tensor t;
      t.name = text();
      const auto rank = number<std::uint32_t>();
      for (std::uint32_t r = 0; r < rank && good_; ++r) t.extents.push_back(number<std::uint64_t>());
      t.type = number<std::uint32_t>();
      t.offset = number<std::uint64_t>();
      if (good_) out.tensors.push_back(std::move(t));
    }
    if (!good_) return std::nullopt;
    const std::size_t begin = (at_ + 31) / 32 * 32;
    if (begin < size_) out.data.assign(chars(begin), size_ - begin);
    return out;
  }

 private:
  [[nodiscard]] const char* chars(std::size_t at) const { return reinterpret_cast<const char*>(data_) + at; }
  bool take(std::uint64_t count) {
    if (!good_ || count > size_ - at_) return good_ = false;
    at_ += static_cast<std::size_t>(count);
    return true;
  }
  template <typename T>
  T number() {
    T value{};
    if (take(sizeof(T))) std::memcpy(&value, data_ + at_ - sizeof(T), sizeof(T));
    return value;
  }
  std::string text() {
    const auto length = number<std::uint64_t>();
    return take(length) ? std::string(chars(at_ - length), length) : std::string();
  }
  void skip_value(std::uint32_t type, int depth) {
    static constexpr std::uint8_t kBytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    if (type >= sizeof(kBytes) || depth > 8) {
      good_ = false;
    } else if (kBytes[type] != 0) {
      take(kBytes[type]);
    } else if (type == 8) {
      text();
    } else {
      const auto element = number<std::uint32_t>();
      const auto count = number<std::uint64_t>();
      for (std::uint64_t i = 0; i < count && good_; ++i) skip_value(element, depth + 1);
    }
  }

  const std::uint8_t* data_;
  std::size_t size_;
  std::size_t at_ = 0;
  bool good_ = true;
};

// One change to the pieces.
class GgufMutation {
 public:
  explicit GgufMutation(unsigned seed) : random_(seed) {}

  void apply(GgufPieces& file) {
    switch (below(10)) {
      case 0:
        if (!file.values.empty()) mutate(any(file.values).second);
        break;
      case 1:
        if (!file.values.empty()) any(file.values).first = key();
        break;
      case 2:
        file.values.emplace_back(key(), file.values.empty() ? std::string(8, '\0') : any(file.values).second);
        break;
      case 3:
        if (!file.values.empty())
          file.values.erase(file.values.begin() + static_cast<std::ptrdiff_t>(below(file.values.size())));
        break;
      case 4:
        if (!file.values.empty()) any(file.values).second = number();
        break;
      case 5:
        if (!file.tensors.empty()) any(file.tensors).type = static_cast<std::uint32_t>(below(44));
        break;
      case 6:
        if (!file.tensors.empty() && !any(file.tensors).extents.empty()) {
          GgufPieces::Tensor& tensor = any(file.tensors);
          if (!tensor.extents.empty()) any(tensor.extents) = extent();
        }
        break;
      case 7:
        if (!file.tensors.empty()) any(file.tensors).offset = 32 * below(1 + file.data.size() / 32);
        break;
      case 8:
        if (!file.tensors.empty()) file.tensors.push_back(any(file.tensors));
        if (file.tensors.size() > 1) mutate(file.tensors.back().name);
        break;
      default:
        if (!file.tensors.empty())
          file.tensors.erase(file.tensors.begin() + static_cast<std::ptrdiff_t>(below(file.tensors.size())));
        break;
    }
  }

 private:
  std::size_t below(std::size_t count) { return random_() % count; }
  template <typename T>
  T& any(std::vector<T>& items) {
    return items[below(items.size())];
  }
  std::string key() {
    static constexpr const char* kKeys[] = {"general.architecture",
                                            "general.alignment",
                                            "general.type",
                                            "split.no",
                                            "split.count",
                                            "split.tensors.count",
                                            "llama.block_count",
                                            "llama.attention.head_count_kv",
                                            "llama.rope.scaling.type",
                                            "llama.attention.sliding_window",
                                            "tokenizer.ggml.model",
                                            "tokenizer.ggml.pre",
                                            "tokenizer.ggml.tokens",
                                            "tokenizer.ggml.scores",
                                            "tokenizer.ggml.merges",
                                            "tokenizer.ggml.token_type",
                                            "tokenizer.ggml.bos_token_id",
                                            "tokenizer.ggml.eot_token_id",
                                            "tokenizer.chat_template"};
    return kKeys[below(sizeof(kKeys) / sizeof(*kKeys))];
  }
  std::uint64_t extent() {
    static constexpr std::uint64_t kExtents[] = {
        0, 1, 8, 16, 32, 64, 256, 512, std::uint64_t{1} << 32U, ~std::uint64_t{0} / 16};
    return kExtents[below(sizeof(kExtents) / sizeof(*kExtents))];
  }
  // A number of some type with an interesting value.
  std::string number() {
    static constexpr std::uint8_t kTypes[] = {0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12};
    static constexpr std::uint8_t kBytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    const std::uint32_t type = kTypes[below(sizeof(kTypes))];
    std::uint64_t value = below(3) == 0 ? ~std::uint64_t{0} : below(70000);
    std::string out(reinterpret_cast<const char*>(&type), 4);
    return out.append(reinterpret_cast<const char*>(&value), kBytes[type]);
  }
  void mutate(std::string& bytes) {
    if (LLVMFuzzerMutate == nullptr) return;
    const std::size_t size = bytes.size();
    bytes.resize(size + 16);
    bytes.resize(LLVMFuzzerMutate(reinterpret_cast<std::uint8_t*>(bytes.data()), size, bytes.size()));
  }

  std::minstd_rand random_;
};

}  // namespace thinkey::fuzz
