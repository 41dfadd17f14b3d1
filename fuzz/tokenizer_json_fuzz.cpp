// A stranger's tokenizer.json: read, and if it is accepted, used for a short text.
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "thinkey/error.h"
#include "tokenizer/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::filesystem::path directory = [] {
    const auto memory = std::filesystem::path("/dev/shm");
    std::string name = (std::filesystem::exists(memory) ? memory : std::filesystem::temp_directory_path()) /
                       "thinkey-fuzz-XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) std::abort();
    return std::filesystem::path(name);
  }();
  const auto path = directory / "tokenizer.json";
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(data), static_cast<std::streamsize>(size));
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
