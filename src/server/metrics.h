// What the scheduler counts, in Prometheus' text form.
#pragma once

#include <cstddef>
#include <string>

#include "engine/scheduler/scheduler.h"

namespace thinkey::server {

[[nodiscard]] std::string prometheus_text(const SchedulerStatus& status, std::size_t connections,
                                          std::size_t http_requests);

}  // namespace thinkey::server
