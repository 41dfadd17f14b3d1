// The backend that needs no device.
#pragma once

#include <memory>

#include "backend/backend.h"
#include "backend/cpu/ops/matmul.h"
#include "backend/cpu/ops/matvec.h"

namespace thinkey {

struct CpuOptions {
  Precision precision = Precision::F32;  // of prefill's attention, and of its products with weights
  // Of prefill's and of decode's products with quantized weights (weight_form.h).
  ActivationPrecision prefill_activations = ActivationPrecision::F32;
  ActivationPrecision decode_activations = ActivationPrecision::F32;
};

[[nodiscard]] std::unique_ptr<Backend> cpu_backend(const CpuOptions& options);

}  // namespace thinkey
