// A JSON schema and, after a zero byte, what chooses among the bytes that its grammar allows: what is written
// so is JSON as soon as the grammar lets it end.
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "fuzz_input.h"
#include "server/request_fields.h"
#include "server/schema/json_grammar.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace thinkey;
  if (size > 4096) return 0;
  const std::string_view text = fuzz::text_of(data, size);
  const std::size_t zero = text.find('\0');
  try {
    const server::OrderedJson schema = server::parse_body(text.substr(0, zero));
    server::Grammar grammar;
    server::JsonGrammar json(grammar);
    const server::Grammar::Rule start = json.schema(schema, "schema");
    server::GrammarAutomaton automaton(std::move(grammar), start);
    if (zero == std::string_view::npos) return 0;
    server::GrammarAutomaton::State state = automaton.start();
    std::string written;
    for (const char wish : text.substr(zero + 1, 64)) {
      for (unsigned i = 0; i < 256; ++i) {  // the byte that is wished for, or the next that may stand here
        const auto byte = static_cast<unsigned char>(static_cast<unsigned char>(wish) + i);
        const auto next = automaton.next(state, byte);
        if (next == server::GrammarAutomaton::kDead) continue;
        state = next;
        written += static_cast<char>(byte);
        break;
      }
      if (automaton.accepts(state)) FUZZ_REQUIRE(nlohmann::json::accept(written));
      if (automaton.ends(state)) break;
    }
  } catch (const server::ApiError& error) {
    FUZZ_REQUIRE(error.status == 400 && std::string_view(error.what()).size() < 8192);
  } catch (const server::GrammarError&) {
  }
  return 0;
}
