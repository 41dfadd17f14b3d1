#include "backend/cpu/ops/matmul.h"

#include <omp.h>
#include <oneapi/dnnl/dnnl_version.h>

#include <algorithm>
#include <memory>
#include <oneapi/dnnl/dnnl.hpp>
#include <string_view>
#include <unordered_map>

#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

#include "backend/cpu/ops/convert.h"
#include "base/aligned_buffer.h"
#include "base/parallel.h"

namespace thinkey {
namespace {

using dnnl::memory;

// Never destroyed: worker threads may hold primitives until the process ends.
const dnnl::engine& cpu_engine() {
  static const auto* engine = new dnnl::engine(dnnl::engine::kind::cpu, 0);
  return *engine;
}

// The one place where oneDNN 2 and 3 differ for us.
dnnl::matmul::primitive_desc describe_product(const memory::desc& a, const memory::desc& b,
                                              const memory::desc& c, const dnnl::primitive_attr& attributes) {
#if DNNL_VERSION_MAJOR >= 3
  return {cpu_engine(), a, b, c, attributes};
#else
  return {dnnl::matmul::desc(a, b, c), attributes, cpu_engine()};
#endif
}

struct PlanKey {
  MatmulShape shape;
  Precision precision = Precision::F32;
  bool operator==(const PlanKey&) const = default;
};

struct PlanKeyHash {
  std::size_t operator()(const PlanKey& key) const noexcept {
    const MatmulShape& s = key.shape;
    const auto flags = static_cast<std::uint64_t>(key.precision) << 2U |
                       static_cast<std::uint64_t>(s.b_transposed) << 1U |
                       static_cast<std::uint64_t>(s.accumulate);
    std::uint64_t hash = flags;
    for (const std::size_t part : {s.m, s.n, s.k, s.lda, s.ldb, s.ldc}) {
      hash = (hash ^ part) * 0x9E3779B97F4A7C15U;
      hash ^= hash >> 29U;
    }
    return static_cast<std::size_t>(hash);
  }
};

dnnl::matmul::primitive_desc describe_product(const PlanKey& key) {
  const MatmulShape& s = key.shape;
  const auto type = key.precision == Precision::BF16 ? memory::data_type::bf16 : memory::data_type::f32;
  const auto dims = [](std::size_t rows, std::size_t columns) {
    return memory::dims{static_cast<memory::dim>(rows), static_cast<memory::dim>(columns)};
  };
  const memory::desc a(dims(s.m, s.k), type, dims(s.lda, 1));
  const memory::desc b(dims(s.k, s.n), type, s.b_transposed ? dims(1, s.ldb) : dims(s.ldb, 1));
  const memory::desc c(dims(s.m, s.n), memory::data_type::f32, dims(s.ldc, 1));
  dnnl::primitive_attr attributes;
  // The library's own scratchpad belongs to the thread that made the primitive; ours to the one that runs it.
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  if (s.accumulate) {
    dnnl::post_ops operations;
    operations.append_sum(1.0F);
    attributes.set_post_ops(operations);
  }
  return describe_product(a, b, c, attributes);
}

// A primitive with the memory objects it is run with; only the addresses change between runs.
struct Plan {
  explicit Plan(const PlanKey& key) : Plan(describe_product(key)) {}
  explicit Plan(const dnnl::matmul::primitive_desc& description)
      : primitive(description),
        a(description.src_desc(), cpu_engine(), nullptr),
        b(description.weights_desc(), cpu_engine(), nullptr),
        c(description.dst_desc(), cpu_engine(), nullptr),
        scratchpad(description.scratchpad_desc(), cpu_engine(), nullptr),
        scratchpad_bytes(description.scratchpad_desc().get_size()) {}

  dnnl::matmul primitive;
  memory a, b, c, scratchpad;
  std::size_t scratchpad_bytes;
};

// Every thread has its own plans, so looking one up takes no lock and running one shares nothing.
// The generated code behind equal plans is shared: oneDNN caches it process-wide.
class Planner {
 public:
  // Null when the library has no implementation on this CPU.
  Plan* find(const PlanKey& key) {
    omp_set_num_threads(1);  // of products that this thread starts; a primitive is made for so many, too
    if (const auto found = plans_.find(key); found != plans_.end()) return found->second.get();
    // Prompts of ever new lengths must not grow the cache forever.
    if (plans_.size() >= kMaxPlans) plans_.clear();
    return plans_.emplace(key, make(key)).first->second.get();
  }

  void run(Plan& plan, const void* a, const void* b, float* c) {
    if (plan.scratchpad_bytes > scratchpad_.size()) {
      scratchpad_ = AlignedBuffer<std::byte>(plan.scratchpad_bytes);
    }
    // oneDNN's memory objects are not const-correct; inputs are only read.
    set_address(plan.a, const_cast<void*>(a));
    set_address(plan.b, const_cast<void*>(b));
    set_address(plan.c, c);
    set_address(plan.scratchpad, scratchpad_.data());
    // The C call, because the C++ one wants a freshly allocated map of arguments.
    const dnnl_exec_arg_t arguments[] = {{DNNL_ARG_SRC, plan.a.get()},
                                         {DNNL_ARG_WEIGHTS, plan.b.get()},
                                         {DNNL_ARG_DST, plan.c.get()},
                                         {DNNL_ARG_SCRATCHPAD, plan.scratchpad.get()}};
    dnnl::error::wrap_c_api(dnnl_primitive_execute(plan.primitive.get(), stream_.get(), 4, arguments),
                            "matrix product failed");
  }

 private:
  static constexpr std::size_t kMaxPlans = 256;

  static std::unique_ptr<Plan> make(const PlanKey& key) {
    try {
      return std::make_unique<Plan>(key);
    } catch (const dnnl::error& error) {
      if (error.status != dnnl_unimplemented) throw;
      return nullptr;
    }
  }

  static void set_address(memory& object, void* address) {
    dnnl::error::wrap_c_api(dnnl_memory_set_data_handle(object.get(), address),
                            "cannot set a matrix address");
  }

  dnnl::stream stream_{cpu_engine()};
  AlignedBuffer<std::byte> scratchpad_;
  std::unordered_map<PlanKey, std::unique_ptr<Plan>, PlanKeyHash> plans_;
};

Planner& planner() {
  thread_local Planner instance;
  return instance;
}

// The sizes for which the product is not a product: nothing to do, or C's share of nothing.
bool degenerate(const MatmulShape& s, float* c) {
  if (s.m == 0 || s.n == 0) return true;
  if (s.k > 0) return false;
  for (std::size_t i = 0; i < s.m && !s.accumulate; ++i) std::fill_n(c + i * s.ldc, s.n, 0.0F);
  return true;
}

void widen_block(const bf16_bits* from, std::size_t stride, std::size_t rows, std::size_t cols, float* to) {
  for (std::size_t i = 0; i < rows; ++i) {
    bf16_to_f32(from + i * stride, cols, to + i * cols);
  }
}

// For CPUs whose oneDNN has no bf16 product at all: widens block by block. Correct, not fast; such
// machines are meant to run in f32.
void multiply_widened(const MatmulShape& s, const bf16_bits* a, const bf16_bits* b, float* c) {
  constexpr std::size_t kRows = 256;
  constexpr std::size_t kCols = 256;
  constexpr std::size_t kDepth = 1024;
  AlignedBuffer<float> wide_a(std::min(s.m, kRows) * std::min(s.k, kDepth));
  AlignedBuffer<float> wide_b(std::min(s.n, kCols) * std::min(s.k, kDepth));
  for (std::size_t j = 0; j < s.n; j += kCols) {
    for (std::size_t p = 0; p < s.k; p += kDepth) {
      MatmulShape block = s;
      block.n = std::min(kCols, s.n - j);
      block.k = std::min(kDepth, s.k - p);
      block.lda = block.k;
      block.ldb = s.b_transposed ? block.k : block.n;
      block.accumulate = s.accumulate || p > 0;
      if (s.b_transposed) {
        widen_block(b + j * s.ldb + p, s.ldb, block.n, block.k, wide_b.data());
      } else {
        widen_block(b + p * s.ldb + j, s.ldb, block.k, block.n, wide_b.data());
      }
      for (std::size_t i = 0; i < s.m; i += kRows) {
        block.m = std::min(kRows, s.m - i);
        widen_block(a + i * s.lda + p, s.lda, block.m, block.k, wide_a.data());
        matmul(block, wide_a.data(), wide_b.data(), c + i * s.ldc + j);
      }
    }
  }
}

// ONEDNN_MAX_CPU_ISA may lower what it uses. The enumerators are sets of bits.
bool onednn_uses(dnnl::cpu_isa wanted) {
  const auto bits = static_cast<unsigned>(wanted);
  return (static_cast<unsigned>(dnnl::get_effective_cpu_isa()) & bits) == bits;
}

}  // namespace

bool cpu_has_amx() { return onednn_uses(dnnl::cpu_isa::avx512_core_amx); }

bool cpu_multiplies_bf16() {
#if defined(__x86_64__) || defined(__i386__)
  return onednn_uses(dnnl::cpu_isa::avx512_core_bf16);
#elif defined(__aarch64__) && defined(__linux__)
  constexpr unsigned long kBf16 = 1UL << 14U;  // HWCAP2_BF16, absent from old headers
  if ((getauxval(AT_HWCAP2) & kBf16) == 0) return false;
  try {  // the library's Arm kernels are optional; its reference code would be slower than f32
    const PlanKey probe{{.m = 256, .n = 256, .k = 256, .lda = 256, .ldb = 256, .ldc = 256}, Precision::BF16};
    return std::string_view(describe_product(probe).impl_info_str()).find("ref") == std::string_view::npos;
  } catch (const dnnl::error&) {
    return false;
  }
#else
  return false;
#endif
}

namespace {

// Calls multiply(shape, a, b, c) for parts of a product, one for each thread where it is large enough:
// columns of C, or rows where those are few. oneDNN runs each with one thread, so that ours are the only
// ones.
template <typename T, typename Multiply>
void split(const MatmulShape& shape, const T* a, const T* b, float* c, const Multiply& multiply) {
  constexpr std::size_t kLeastWork = std::size_t{1} << 20U;
  constexpr std::size_t kPiece = 64;  // columns or rows, at least, and a multiple of it
  const std::size_t most = std::max(shape.m, shape.n);
  const std::size_t parts = in_parallel() ? 1
                                          : std::min({static_cast<std::size_t>(threads()), most / kPiece,
                                                      shape.m * shape.n * shape.k / kLeastWork});
  if (parts <= 1) return multiply(shape, a, b, c);
  const bool columns = shape.n >= shape.m;
  const std::size_t pieces = (most + kPiece - 1) / kPiece;
  parallel_for(parts, [&](std::size_t index) {
    const auto part = index;
    const std::size_t begin = pieces * part / parts * kPiece;
    const std::size_t count = std::min(most, pieces * (part + 1) / parts * kPiece) - begin;
    MatmulShape own = shape;
    if (columns) {
      own.n = count;
      multiply(own, a, b + begin * (shape.b_transposed ? shape.ldb : 1), c + begin);
    } else {
      own.m = count;
      multiply(own, a + begin * shape.lda, b, c + begin * shape.ldc);
    }
  });
}

}  // namespace

void matmul(const MatmulShape& shape, const float* a, const float* b, float* c) {
  if (degenerate(shape, c)) return;
  split(shape, a, b, c, [](const MatmulShape& s, const float* x, const float* y, float* z) {
    Planner& mine = planner();
    Plan* plan = mine.find({s, Precision::F32});
    if (plan == nullptr)
      throw dnnl::error(dnnl_unimplemented, "oneDNN has no f32 matrix product on this CPU");
    mine.run(*plan, x, y, z);
  });
}

void matmul(const MatmulShape& shape, const bf16_bits* a, const bf16_bits* b, float* c) {
  if (degenerate(shape, c)) return;
  split(shape, a, b, c, [](const MatmulShape& s, const bf16_bits* x, const bf16_bits* y, float* z) {
    Planner& mine = planner();
    if (Plan* plan = mine.find({s, Precision::BF16}); plan != nullptr) {
      mine.run(*plan, x, y, z);
    } else {
      multiply_widened(s, x, y, z);
    }
  });
}

}  // namespace thinkey
