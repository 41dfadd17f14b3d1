// Samples of evaluations: needles, prompts, passages, LongBench's files and predictions for its scores.
#include "eval/longbench/longbench_samples.h"
#include "eval/needle/needle_samples.h"
#include "eval/ruler/ruler.h"
#include "eval/run/sweep.h"
#include "fuzz_input.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace thinkey;
  if (size < 2 || size > (std::size_t{1} << 16U)) return 0;
  const fuzz::MemoryFile file(fuzz::text_of(data + 2, size - 2));
  const auto tasks = eval::longbench_tasks();
  fuzz::accepted([&] {
    switch (data[0] % 4) {
      case 0:
        static_cast<void>(eval::read_samples(file.path(), 100));
        break;
      case 1:
        static_cast<void>(eval::read_prompts(file.path(), 100));
        break;
      case 2:
        static_cast<void>(eval::read_passages(file.path()));
        break;
      default: {
        const eval::LongBenchTask& task = tasks[data[1] % tasks.size()];
        for (const auto& p : eval::read_predictions(task, file.path())) {
          FUZZ_REQUIRE(!p.answers.empty());
          if (task.english && p.prediction.size() < 2000) {
            static const eval::ChineseSegmenter segmenter;  // single characters, whatever is installed
            const double score = eval::longbench_score(task, p.prediction, p.answers, p.classes, {segmenter});
            FUZZ_REQUIRE(score >= 0.0 && score <= 1.0 + 1e-9);
          }
        }
      }
    }
  });
  return 0;
}
