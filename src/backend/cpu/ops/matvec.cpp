#include "backend/cpu/ops/matvec.h"

#include <algorithm>

#include "backend/cpu/ops/highway_targets.h"
#include "backend/cpu/ops/matvec_int8.h"
#include "backend/cpu/ops/matvec_rows.h"
#include "backend/cpu/ops/packed_matrix.h"
#include "base/aligned_buffer.h"
#include "base/parallel.h"
#include "base/require_fit.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/ops/matvec.cpp"  // this file, once per target
#include <hwy/foreach_target.h>                          // before highway.h
#include <hwy/highway.h>

#include "backend/cpu/ops/matvec-inl.h"

HWY_BEFORE_NAMESPACE();
namespace thinkey::HWY_NAMESPACE {

void multiply_rows(const MatvecRows& job) { visit_decoder(job.type, MultiplyRows{job}); }

}  // namespace thinkey::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace thinkey {
namespace {

HWY_EXPORT(multiply_rows);

// Below this many multiply-adds waking the other threads costs more than they save.
constexpr std::size_t kSerialWork = std::size_t{64} * 1024;
// Enough tasks per thread to even out what the threads are given.
constexpr std::size_t kTasksPerThread = 12;
constexpr std::size_t kRowGroup = kPackedPanel;  // rows the kernels treat together

// What all jobs of a call are multiplied with: f32, and in 8 bits where some job takes them.
struct Activations {
  const float* f32;
  const Int8Group* int8;
  std::size_t batch;
  VectorOrder order;
};

// x [batch, cols] in 8 bits, in memory of the calling thread that is valid until its next call: 2 bytes
// per activation, kept, so that decoding a token allocates nothing.
const Int8Group* to_int8(const float* x, std::size_t batch, std::size_t cols) {
  thread_local AlignedBuffer<Int8Group> buffer;
  const std::size_t groups = (cols + kInt8Group - 1) / kInt8Group;
  if (buffer.size() < batch * groups) buffer = AlignedBuffer<Int8Group>(batch * groups);
  Int8Group* out = buffer.data();
  const auto one = [=](std::size_t b) { quantize_activations(x + b * cols, cols, out + b * groups); };
  if (batch * cols < kSerialWork) {
    for (std::size_t b = 0; b < batch; ++b) one(b);
  } else {
    parallel_for(batch, one);
  }
  return out;
}

bool takes_int8(const MatvecJob& job) { return has_int8_product(job.weights.type) && job.weights.rows > 0; }

void multiply(const MatvecJob& job, std::size_t begin, std::size_t end, const Activations& x) {
  const MatrixView& w = job.weights;
  const auto rows = static_cast<std::size_t>(w.rows);
  const std::size_t stride = w.row_stride();
  if (x.int8 != nullptr && takes_int8(job)) {
    const auto cols = static_cast<std::size_t>(w.cols);
    const bool packed = w.packed != nullptr;
    const std::byte* first = packed ? w.packed + packed_bytes(w.type, begin, cols) : w.data + begin * stride;
    const Int8Rows range{.type = w.type,
                         .weights = reinterpret_cast<const std::uint8_t*>(first),
                         .row_bytes = stride,
                         .rows = end - begin,
                         .cols = cols,
                         .x = x.int8,
                         .batch = x.batch,
                         .y = job.y + begin,
                         .y_stride = rows};
    return packed ? multiply_packed(range) : multiply_rows_int8(range);
  }
  HWY_DYNAMIC_DISPATCH(multiply_rows)
  (MatvecRows{.type = w.type,
              .weights = reinterpret_cast<const std::uint8_t*>(w.data) + begin * stride,
              .row_bytes = stride,
              .rows = end - begin,
              .cols = static_cast<std::size_t>(w.cols),
              .x = x.f32,
              .batch = x.batch,
              .alone = x.order == VectorOrder::Alone,
              .y = job.y + begin,
              .y_stride = rows});
}

}  // namespace

void matvec(const MatvecJob* jobs, std::size_t count, const float* x, std::size_t batch,
            ActivationPrecision precision, VectorOrder order) {
  std::size_t rows = 0;
  std::size_t work = 0;
  for (std::size_t j = 0; j < count; ++j) {
    require_fit(
        static_cast<std::size_t>(jobs[j].weights.cols) % traits(jobs[j].weights.type).block_elements == 0,
        "a row that is not made of whole blocks");
    require_fit(jobs[j].weights.cols == jobs[0].weights.cols, "matrices of different widths share an input");
    rows += static_cast<std::size_t>(jobs[j].weights.rows);
    work += static_cast<std::size_t>(jobs[j].weights.rows * jobs[j].weights.cols) * batch;
  }
  if (rows == 0 || batch == 0) return;
  std::size_t rows_per_task = rows;
  if (work >= kSerialWork) {
    const std::size_t wanted = static_cast<std::size_t>(threads()) * kTasksPerThread;
    rows_per_task = ((rows + wanted - 1) / wanted + kRowGroup - 1) / kRowGroup * kRowGroup;
  }
  // Task t of a job is rows [t, t + 1) * rows_per_task; tasks are numbered through all jobs.
  std::size_t tasks = 0;
  for (std::size_t j = 0; j < count; ++j) {
    tasks += (static_cast<std::size_t>(jobs[j].weights.rows) + rows_per_task - 1) / rows_per_task;
  }
  Activations activations{.f32 = x, .int8 = nullptr, .batch = batch, .order = order};
  if (precision == ActivationPrecision::Int8 && cpu_multiplies_int8() &&
      std::any_of(jobs, jobs + count, takes_int8)) {
    activations.int8 = to_int8(x, batch, static_cast<std::size_t>(jobs[0].weights.cols));
  }
  auto run = [&](std::size_t task) {
    for (std::size_t j = 0; j < count; ++j) {
      const auto job_rows = static_cast<std::size_t>(jobs[j].weights.rows);
      const std::size_t job_tasks = (job_rows + rows_per_task - 1) / rows_per_task;
      if (task < job_tasks) {
        const std::size_t begin = task * rows_per_task;
        return multiply(jobs[j], begin, std::min(job_rows, begin + rows_per_task), activations);
      }
      task -= job_tasks;
    }
  };
  if (work < kSerialWork) {
    for (std::size_t task = 0; task < tasks; ++task) run(task);
  } else {
    parallel_for(tasks, run);
  }
}

void matvec(const MatrixView& weights, const float* x, std::size_t batch, float* y,
            ActivationPrecision precision, VectorOrder order) {
  const MatvecJob job{weights, y};
  matvec(&job, 1, x, batch, precision, order);
}

}  // namespace thinkey
#endif  // HWY_ONCE
