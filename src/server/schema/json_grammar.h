// JSON and JSON schemas as grammars.
//
// Of JSON Schema (2020-12) this much: type (also a list), enum, const, properties, required,
// additionalProperties, items, minItems, maxItems, minLength, maxLength, minimum, maximum, exclusiveMinimum,
// exclusiveMaximum (whole numbers), anyOf, allOf of one, $ref within the document; annotations (title,
// description, default, examples, ...) say nothing. Everything else is refused by name.
//
// Objects are written with the properties that the schema lists, in its order, and no others; where it lists
// none, with any. White space is what people use: none, a space, or a line break and indentation.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "server/api_error.h"
#include "server/schema/grammar.h"

namespace thinkey::server {

class JsonGrammar {
 public:
  explicit JsonGrammar(Grammar& grammar);

  [[nodiscard]] Grammar::Rule any_value() const noexcept { return value_; }
  [[nodiscard]] Grammar::Rule any_object() const noexcept { return object_; }
  // `path`: where the schema stands in the request, for errors. ApiError 400 naming the property that is
  // outside the subset.
  [[nodiscard]] Grammar::Rule schema(const OrderedJson& document, const std::string& path);

 private:
  using Sequence = Grammar::Sequence;
  struct Bounds {
    std::int64_t least = 0, most = 0;
    bool has_least = false, has_most = false;
    bool excludes_least = false, excludes_most = false;  // of numbers that are not whole
  };

  [[nodiscard]] Grammar::Rule compile(const OrderedJson& schema, const std::string& path);
  [[nodiscard]] Grammar::Rule reference(const OrderedJson& schema, const std::string& path);
  // Whether a text of `reference` may begin with one of open_.
  [[nodiscard]] bool begins_with_open(const std::string& reference) const;
  void add_type(Grammar::Rule rule, const std::string& type, const OrderedJson& schema,
                const std::string& path);
  [[nodiscard]] Grammar::Rule object(const OrderedJson& schema, const std::string& path);
  [[nodiscard]] Grammar::Rule map_of(Grammar::Rule value);
  [[nodiscard]] Grammar::Rule array(const OrderedJson& schema, const std::string& path);
  [[nodiscard]] Grammar::Rule string(const OrderedJson& schema, const std::string& path);
  [[nodiscard]] Grammar::Rule number(const OrderedJson& schema, const std::string& path, bool whole);
  [[nodiscard]] Bounds bounds(const OrderedJson& schema, const std::string& path, bool whole) const;
  // Decimal numbers from `least` to `most` (no bound where most < 0), each followed by `tail`.
  void add_range(Grammar::Rule rule, const std::string& sign, std::int64_t least, std::int64_t most,
                 const Sequence& tail);
  // least .. most times `item`, `separator` between; most < 0: any number.
  [[nodiscard]] Grammar::Rule repeat(const Sequence& item, const Sequence& separator, std::int64_t least,
                                     std::int64_t most);
  [[nodiscard]] Sequence call(Grammar::Rule rule) const { return {Grammar::call(rule)}; }
  [[nodiscard]] Sequence text(std::string_view literal) { return g_.literal(literal); }
  [[nodiscard]] Sequence colon() { return text(":") + call(space_); }

  Grammar& g_;
  Grammar::Rule space_ = 0, character_ = 0, string_ = 0, number_ = 0, integer_ = 0, value_ = 0, object_ = 0,
                array_ = 0;
  const OrderedJson* document_ = nullptr;
  std::string root_;
  std::map<std::string, Grammar::Rule> references_;
  // Of references: those being compiled before any byte of their text, the innermost last; and for each with
  // which others its text may begin.
  std::vector<std::string> open_;
  std::map<std::string, std::set<std::string>> heads_;
  std::size_t schemas_ = 0;
};

}  // namespace thinkey::server
