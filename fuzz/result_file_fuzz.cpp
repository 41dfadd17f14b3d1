// Result files: whatever is in one, it is refused in one line, or read and gone on with, and then reads the
// same.
#include "eval/run/result_file.h"
#include "fuzz_input.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace thinkey;
  if (size < 1 || size > (std::size_t{1} << 16U)) return 0;
  const eval::RunIdentity identity{
      .task = "needle", .model = "m", .weights = "00aa", .settings = R"({"depths":[0,50],"seed":1})"};
  std::string bytes;
  if (data[0] % 2 == 0) {  // the header that belongs to us
    bytes =
        R"({"thinkey_results":2,"task":"needle","model":"m","weights":"00aa","settings":{"depths":[0,50],"seed":1}})"
        "\n";
  }
  bytes += fuzz::text_of(data + 1, size - 1);
  const fuzz::MemoryFile file(bytes);
  fuzz::accepted([&] {
    std::size_t records = 0;
    {
      eval::ResultFile results(file.path(), identity, false, {});
      eval::Record record{.sample = "a new one",
                          .cache = "full",
                          .labels = {{"depth", "50"}},
                          .values = {{"score", 1.0}},
                          .prediction = "x"};
      if (!results.has(record.sample, record.cache)) results.append(std::move(record));
      records = results.records().size();
    }
    const eval::ResultFile again(file.path(), identity, false, {});
    FUZZ_REQUIRE(again.records().size() == records);
  });
  return 0;
}
