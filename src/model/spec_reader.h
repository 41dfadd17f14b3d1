// Reads a model file's hyperparameters into a ModelSpec, whichever container they come from. A family
// (model/families/) says what is its own; what all share is here.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "formats/model_file.h"
#include "model/spec.h"

namespace thinkey {

// One hyperparameter's names; empty where a container has none.
struct Key {
  const char* gguf;
  const char* hf;
};

// What transformers assumes for a key that config.json leaves out.
struct SpecDefaults {
  std::size_t context_length = 2048;
  std::optional<std::size_t> kv_heads = std::nullopt;  // nullopt: as many as query heads
  std::optional<std::size_t> head_dim = std::nullopt;  // nullopt: width / query heads
  double epsilon = 1e-6;
  bool tied = false;
  const char* activation = "silu";  // the one that this family has
  bool feed_forward = true;         // the dense layers' width must be given
};

// Which table of a file that has one per kind of layer (config.json's rope_parameters).
struct RopeOptions {
  double theta = 10000.0;
  double rotated_share = 1.0;  // of a head's channels, when the file does not say
  std::string_view layer_type = "full_attention";
  Key theta_key = {"rope.freq_base", "rope_theta"};
  bool scaled = true;  // the file's scaling applies to this table
  bool yarn_truncates = true;
};

class SpecReader {
 public:
  explicit SpecReader(const ModelFile& file);

  ModelSpec spec;  // what the family fills

  [[nodiscard]] bool gguf() const noexcept { return file_.kind() == Container::Gguf; }
  [[nodiscard]] const ConfigView& config() const noexcept { return file_.config(); }
  [[nodiscard]] const ModelFile& file() const noexcept { return file_; }
  [[nodiscard]] const char* name(Key key) const noexcept { return gguf() ? key.gguf : key.hf; }

  // nullopt when absent or when the container has no such key. In a GGUF an integer may be a list of equal
  // ones, one per layer.
  [[nodiscard]] std::optional<std::int64_t> integer(Key key) const;
  [[nodiscard]] std::optional<double> number(Key key) const;
  [[nodiscard]] std::optional<bool> boolean(Key key) const;
  // Counts and sizes: an Error when negative.
  [[nodiscard]] std::optional<std::size_t> size(Key key) const;
  [[nodiscard]] std::size_t require_size(Key key) const;
  [[noreturn]] void fail(Key key, std::string_view reason) const { config().fail(name(key), reason); }
  // Error when the key says anything but `value`.
  void require_equal(Key key, bool value) const;

  // Sizes, heads, context, epsilon, activation; makes the layers, all alike.
  void common(const SpecDefaults& defaults);
  // Appends a table to spec.ropes. GGUF pairs: as the converter leaves them for this architecture.
  void rope(RopePairs pairs, const RopeOptions& options = {});
  // The sliding window, for layers that layer_types (or a GGUF's pattern) says or, when the file leaves it
  // open, for which `slides` holds. Returns which slide.
  std::vector<bool> windows(std::optional<std::int64_t> window,
                            const std::function<bool(std::size_t)>& slides);
  // Experts in every layer for which `sparse` holds; their count and how many are used come from the file.
  void experts(Key width, const std::function<bool(std::size_t)>& sparse = {});

  // A GGUF may give layers with a window a base of their own; Error when it is another than the first
  // table's.
  void same_base_everywhere() const;
  // Whether the file has this tensor.
  [[nodiscard]] bool has_tensor(const std::string& name) const { return file_.find(name) != nullptr; }
  // attention_bias and mlp_bias, which a GGUF only shows by its tensors.
  void biases(bool qkv_by_default, bool output_too);

  // Checks the spec, and that no key of the file is left which could change the result.
  ModelSpec finish();

 private:
  void hf_rope(RopeSpec& rope, const RopeOptions& options) const;
  void gguf_rope(RopeSpec& rope, const RopeOptions& options) const;
  [[nodiscard]] std::vector<float> factors(const std::string& tensor, std::size_t pairs) const;
  void check_sizes() const;
  void check() const;
  void refuse_unread() const;

  const ModelFile& file_;
};

// The spec of a model file. Throws Error(Data) for a family that is not supported, for values that do not fit
// together, and for every key that would change the result and is not implemented.
[[nodiscard]] ModelSpec read_spec(const ModelFile& file);

}  // namespace thinkey
