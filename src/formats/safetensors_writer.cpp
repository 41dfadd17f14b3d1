#include <algorithm>
#include <nlohmann/json.hpp>
#include <unordered_set>
#include <utility>

#include "base/atomic_file.h"
#include "base/fail.h"
#include "formats/checked.h"
#include "formats/printable.h"
#include "formats/safetensors.h"

namespace thinkey {
namespace {

void check_entry(const SafetensorsTensor& tensor, const std::filesystem::path& path) {
  std::uint64_t total_bits = bits(tensor.type);
  for (const std::int64_t extent : tensor.shape) {
    const auto product =
        extent < 0 ? std::nullopt : checked_multiply(total_bits, static_cast<std::uint64_t>(extent));
    if (!product) fail_data("{}: tensor {}: impossible shape", path.string(), printable(tensor.name));
    total_bits = *product;
  }
  if (total_bits % 8 != 0 || total_bits / 8 != tensor.bytes.size()) {
    fail_data("{}: tensor {}: {} bytes given where dtype {} and its shape ask for {}", path.string(),
              printable(tensor.name), tensor.bytes.size(), name(tensor.type), total_bits / 8);
  }
}

// The header's JSON, padded with spaces to a multiple of 8 so that the data behind it are aligned.
std::string make_header(const std::vector<const SafetensorsTensor*>& order,
                        const std::map<std::string, std::string>& metadata,
                        const std::filesystem::path& path) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  std::unordered_set<std::string_view> names{"__metadata__"};
  std::uint64_t offset = 0;
  // push_back keeps the order and, unlike operator[], does not search all earlier names.
  auto& entries = header.get_ref<nlohmann::ordered_json::object_t&>();
  for (const SafetensorsTensor* tensor : order) {
    if (!names.insert(tensor->name).second) {
      fail_data("{}: two tensors are called {}", path.string(), printable(tensor->name));
    }
    const std::uint64_t end = offset + tensor->bytes.size();
    entries.push_back(
        {tensor->name,
         {{"dtype", name(tensor->type)}, {"shape", tensor->shape}, {"data_offsets", {offset, end}}}});
    offset = end;
  }
  try {
    std::string text = header.dump();
    text.append((8 - text.size() % 8) % 8, ' ');
    return text;
  } catch (const nlohmann::json::exception&) {
    fail_data("{}: a tensor name or a metadata text is not UTF-8", path.string());
  }
}

}  // namespace

void write_safetensors(const std::filesystem::path& path, std::span<const SafetensorsTensor> tensors,
                       const std::map<std::string, std::string>& metadata) {
  std::vector<const SafetensorsTensor*> order;
  for (const SafetensorsTensor& tensor : tensors) {
    check_entry(tensor, path);
    order.push_back(&tensor);
  }
  std::stable_sort(order.begin(), order.end(),
                   [](const auto* a, const auto* b) { return bits(a->type) > bits(b->type); });
  const std::string header = make_header(order, metadata, path);
  const std::uint64_t length = header.size();

  AtomicFile file(path);
  file.write(std::as_bytes(std::span(&length, 1)));
  file.write(std::as_bytes(std::span(header)));
  for (const SafetensorsTensor* tensor : order) file.write(tensor->bytes);
  file.commit();
}

}  // namespace thinkey
