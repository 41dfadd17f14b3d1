// A safetensors file: its header, every tensor as numbers, and 8- and 4-bit floats expanded as a model's
// would be.
#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "formats/fp8.h"
#include "formats/mxfp4.h"
#include "formats/safetensors.h"
#include "fuzz/temporary_files.h"
#include "thinkey/error.h"

namespace thinkey {
namespace {

template <typename Call>
void attempt(const Call& call) {
  try {
    static_cast<void>(call());
  } catch (const Error&) {
  }
}

void use(const SafetensorsFile& file) {
  const auto find = [&](std::string_view name) { return file.find(name); };
  for (const SafetensorsTensor& tensor : file.tensors()) {
    attempt([&] { return to_floats(tensor); });
    attempt([&] { return to_integers(tensor); });
    for (const Fp8Config& config : {Fp8Config{}, Fp8Config{{{2, 3}}}, Fp8Config{{{128, 128}}}}) {
      attempt([&] { return expand_fp8(tensor, fp8_scale(tensor, find), config); });
    }
    if (const SafetensorsTensor* scales = file.find(tensor.name + "_scales")) {
      attempt([&] { return read_mxfp4(tensor, *scales); });
    }
  }
}

}  // namespace
}  // namespace thinkey

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace thinkey;  // NOLINT(google-build-using-namespace)
  static const fuzz::TemporaryFiles files;
  const std::filesystem::path path = files.write("a.safetensors", data, size);
  attempt([&] {
    use(SafetensorsFile(path));
    return 0;
  });
  return 0;
}
