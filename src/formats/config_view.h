// A model file's hyperparameters as the file spells them: config.json, or a GGUF's metadata without the
// architecture's prefix. Remembers which keys were read: a key that nobody read may change the result, and
// whoever opens the model refuses it by name (model/spec_reader.h).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "formats/json.h"

namespace thinkey {

class ConfigView {
 public:
  explicit ConfigView(JsonView object);

  // Whether the key is there and not null.
  [[nodiscard]] bool has(const std::string& key) const;
  // nullopt when absent or null; Error(Data) when of another type.
  [[nodiscard]] std::optional<std::int64_t> integer(const std::string& key) const;
  [[nodiscard]] std::optional<double> number(const std::string& key) const;  // finite
  [[nodiscard]] std::optional<bool> boolean(const std::string& key) const;
  [[nodiscard]] std::optional<std::string> text(const std::string& key) const;
  [[nodiscard]] std::optional<std::vector<std::int64_t>> integers(const std::string& key) const;
  [[nodiscard]] std::optional<std::vector<double>> numbers(const std::string& key) const;
  [[nodiscard]] std::optional<std::vector<std::string>> texts(const std::string& key) const;
  [[nodiscard]] std::optional<ConfigView> object(const std::string& key) const;
  [[nodiscard]] bool is_object(const std::string& key) const;
  [[nodiscard]] bool is_array(const std::string& key) const;

  [[nodiscard]] std::int64_t require_integer(const std::string& key) const;
  [[nodiscard]] double require_number(const std::string& key) const;
  [[nodiscard]] double require_positive(const std::string& key) const;

  // Counts as read: the caller knows that it changes nothing.
  void ignore(const std::string& key) const { note(key); }
  // Keys of this object and of the objects read from it that nobody read and that are not null, with their
  // paths ("rope_scaling.factor").
  [[nodiscard]] std::vector<std::string> unread() const;

  // Throws Error(Data) "PATH: key <reason>".
  [[noreturn]] void fail(const std::string& key, std::string_view reason) const { view_.fail(key, reason); }
  [[nodiscard]] const std::filesystem::path& path() const noexcept { return view_.path(); }
  [[nodiscard]] const Json& json() const noexcept { return view_.json(); }

 private:
  struct Notes {
    std::set<std::string> read;
    std::vector<std::pair<std::string, ConfigView>> objects;
  };
  void note(const std::string& key) const { notes_->read.insert(key); }
  [[nodiscard]] const Json* find(const std::string& key) const;
  [[nodiscard]] const Json* array(const std::string& key) const;

  JsonView view_;
  std::shared_ptr<Notes> notes_;
};

}  // namespace thinkey
