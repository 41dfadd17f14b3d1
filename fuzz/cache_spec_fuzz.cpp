// Cache specs: what is accepted means the same when it is printed and read again.
#include "fuzz_input.h"
#include "thinkey/cache_spec.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace thinkey;
  if (size > 512) return 0;
  fuzz::accepted([&] {
    const CacheSpec spec = CacheSpec::parse(fuzz::text_of(data, size));
    const std::string printed = spec.to_string();
    FUZZ_REQUIRE(CacheSpec::parse(printed) == spec);
    FUZZ_REQUIRE(CacheSpec::parse(printed).to_string() == printed);
    FUZZ_REQUIRE(spec.normalized() == spec);
    for (const std::size_t dim : {8U, 80U, 512U}) {
      FUZZ_REQUIRE(spec.channels.kept_keys(dim) >= 1 && spec.channels.kept_keys(dim) <= dim);
      FUZZ_REQUIRE(spec.channels.kept_values(dim) >= 1 && spec.channels.kept_values(dim) <= dim);
    }
    for (const std::size_t tokens : {1U, 33U, 1U << 20U}) {
      FUZZ_REQUIRE(spec.eviction.budget_for(tokens) >= 1 && spec.eviction.budget_for(tokens) <= tokens);
    }
  });
  return 0;
}
