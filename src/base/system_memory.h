// What the machine can still give us.
#pragma once

#include <cstddef>

namespace thinkey {

// Bytes this process may still allocate without swapping: MemAvailable, reduced to what the
// container's limit leaves. 0 when the system does not say.
[[nodiscard]] std::size_t available_memory();

// Resident bytes of this process that no file backs (mapped weights are not among them); 0 when unknown.
[[nodiscard]] std::size_t anonymous_resident_memory();

// Resident bytes of this process, pages of mapped files included; 0 when unknown.
[[nodiscard]] std::size_t resident_memory();

// Highest resident set of this process so far, bytes; 0 when unknown.
[[nodiscard]] std::size_t peak_resident_memory();

}  // namespace thinkey
