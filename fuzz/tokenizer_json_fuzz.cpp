// A stranger's tokenizer.json: read, and if it is accepted, used for a short text.
#include <cstdint>
#include <cstdlib>

#include "fuzz/temporary_files.h"
#include "thinkey/error.h"
#include "tokenizer/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const thinkey::fuzz::TemporaryFiles files;
  const auto path = files.write("tokenizer.json", data, size);
  try {
    const auto tokenizer = thinkey::Tokenizer::create(thinkey::read_tokenizer_json(path));
    const auto ids = tokenizer->encode("It's 12345  <s>\n\xC3\xA9\xE2\x96\x81 \xF0\x9F\x99\x82 aaaa",
                                       {.parse_special = true});
    for (const std::int32_t id : ids) {
      if (id < 0 || id >= tokenizer->vocabulary()) std::abort();
    }
    (void)tokenizer->decode(ids);
    (void)tokenizer->decode(ids, true);
  } catch (const thinkey::Error&) {  // refused in one line
  }
  return 0;
}
