#include "formats/post_processor_json.h"

#include <optional>
#include <string>

#include "formats/json_components.h"
#include "formats/tokenizer_tables.h"

namespace thinkey {
namespace {

void add_around(const JsonView& processor, const std::string& key, const std::string& piece, bool in_front,
                TokenizerData& data) {
  bool& adds = in_front ? data.add_bos : data.add_eos;
  if (adds) processor.fail(key, "puts more than one token in front of or behind the text");
  adds = true;
  const std::int32_t id = find_piece(data, piece);
  if (id < 0) processor.fail(key, fmt::format("names {}, which is not a piece", printable(piece)));
  (in_front ? data.bos : data.eos) = id;
}

// The piece of a template's special token, or nullopt for the text itself.
std::optional<std::string> special_piece(const JsonView& processor, const Json& item) {
  if (!item.is_object()) processor.fail("single", "holds something that is not an object");
  const JsonView view(item, processor.path(), "post_processor.single.");
  const auto special = view.object("SpecialToken");
  if (!special) return std::nullopt;
  return special->require_text("id");
}

// The tokens that TemplateProcessing puts around a single text become BOS and EOS.
void read_template(const JsonView& processor, TokenizerData& data) {
  const Json* single = processor.array("single");
  if (single == nullptr) processor.fail("single", "is missing");
  bool before_text = true;
  for (const Json& item : *single) {
    const auto piece = special_piece(processor, item);
    if (piece) {
      add_around(processor, "single", *piece, before_text, data);
    } else if (!before_text) {
      processor.fail("single", "writes the text twice");
    } else {
      before_text = false;
    }
  }
  if (before_text) processor.fail("single", "does not write the text");
}

// "cls" and "sep": [piece, id].
void read_bert(const JsonView& processor, TokenizerData& data) {
  for (const char* key : {"cls", "sep"}) {
    const Json* pair = processor.array(key);
    if (pair == nullptr || pair->size() != 2 || !(*pair)[0].is_string()) {
      processor.fail(key, "is not a pair of a piece and its id");
    }
    add_around(processor, key, (*pair)[0].get<std::string>(), key[0] == 'c', data);
  }
}

}  // namespace

void read_post_processor(const JsonView& tokenizer, TokenizerData& data) {
  const auto whole = tokenizer.object("post_processor");
  if (!whole) return;
  for_each_component(*whole, "processors", [&data](const JsonView& processor) {
    const std::string type = processor.require_text("type");
    if (type == "ByteLevel") return;  // only trims offsets
    if (type == "TemplateProcessing") return read_template(processor, data);
    if (type == "BertProcessing" || type == "RobertaProcessing") return read_bert(processor, data);
    refuse_component(processor);
  });
}

}  // namespace thinkey
