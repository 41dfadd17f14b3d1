#include "formats/hf_config.h"

#include "base/fail.h"
#include "formats/tokenizer_tables.h"

namespace thinkey {

std::vector<std::int64_t> id_list(const JsonView& object, const std::string& key) {
  const Json* value = object.find(key);
  std::vector<std::int64_t> ids;
  if (value == nullptr) return ids;
  if (!value->is_array()) {
    ids.push_back(object.require_integer(key));
    return ids;
  }
  for (const Json& item : *value) {
    const auto id = as_integer(item);
    if (!id) object.fail(key, "holds something that is not an id");
    ids.push_back(*id);
  }
  return ids;
}

HfConfig read_hf_config(const JsonView& config) {
  HfConfig out;
  out.vocabulary = config.require_integer("vocab_size");
  if (out.vocabulary < 1 || out.vocabulary > static_cast<std::int64_t>(kMaxVocabulary)) {
    config.fail("vocab_size", fmt::format("is outside 1 to {}", kMaxVocabulary));
  }
  out.bos = config.integer("bos_token_id");
  out.eos = id_list(config, "eos_token_id");
  return out;
}

}  // namespace thinkey
