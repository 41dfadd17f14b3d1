// Runs a test body once for every instruction set that this CPU has and the kernels were built for.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>

// clang-format off: the choice of targets must precede Highway.
#include <hwy/targets.h>

#include "backend/cpu/ops/highway_targets.h"
// clang-format on

namespace thinkey {

template <typename Body>
void for_each_highway_target(const Body& body) {
  for (const std::int64_t target : hwy::SupportedAndGeneratedTargets()) {
    SCOPED_TRACE(hwy::TargetName(target));
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    body();
  }
  hwy::SetSupportedTargetsForTest(0);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

}  // namespace thinkey
