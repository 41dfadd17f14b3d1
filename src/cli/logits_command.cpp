// thinkey logits: the model's output for given token ids, for comparison with other programs.
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/fail.h"
#include "base/system_memory.h"
#include "cli/commands.h"
#include "cli/input.h"
#include "cli/interrupt.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/report.h"
#include "formats/safetensors.h"
#include "thinkey/session.h"

namespace thinkey::cli {

namespace {

struct Arguments {
  ModelArguments model;
  CacheArgument cache;
  std::string ids;
  std::string output;
  std::size_t prefill = 0;  // 0: all
  bool last = false;
};

// Rows of logits in the order of their positions: all of them, or only the last one.
class Rows {
 public:
  Rows(std::size_t rows, std::size_t vocabulary) : vocabulary_(vocabulary) {
    const std::size_t available = available_memory();
    const std::size_t bytes = rows * vocabulary * sizeof(float);
    if (available > 0 && bytes > available) {
      fail_data("logits of {} positions need {}, but {} of memory are available; use fewer ids or --last",
                rows, format_bytes(bytes), format_bytes(available));
    }
    values_ = AlignedBuffer<float>(rows * vocabulary);
  }

  void set(std::size_t row, std::span<const float> logits) {
    std::memcpy(values_.data() + row * vocabulary_, logits.data(), vocabulary_ * sizeof(float));
  }
  [[nodiscard]] std::span<const std::byte> bytes() const { return std::as_bytes(values_.span()); }

 private:
  std::size_t vocabulary_;
  AlignedBuffer<float> values_;
};

int execute(const Arguments& arguments) {
  const CacheSpec spec = arguments.cache.parse();
  require_writable(arguments.output);
  const auto model = arguments.model.load();
  const std::size_t vocabulary = model->info().vocabulary;
  const std::vector<std::int32_t> ids = read_ids(arguments.ids, vocabulary);
  const std::size_t prompt = arguments.prefill == 0 ? ids.size() : arguments.prefill;
  if (prompt > ids.size()) {
    fail_usage("--prefill {} is more than the {} ids of {}", prompt, ids.size(), arguments.ids);
  }

  const std::size_t row_count = arguments.last ? 1 : ids.size();
  Rows rows(row_count, vocabulary);
  catch_interrupts();
  Session session(model, {.cache = spec, .context = 0});
  {
    PrefillProgress progress(prompt, standard_error_is_terminal());
    Session::LogitsSink sink;
    if (!arguments.last) {
      sink = [&rows](std::size_t index, std::span<const float> logits) { rows.set(index, logits); };
    }
    session.prefill(std::span(ids).first(prompt), progress.callback(), sink);
  }
  for (std::size_t i = prompt; i < ids.size(); ++i) {
    if (interrupted()) throw Interrupted();
    session.decode(ids[i]);
    if (!arguments.last) rows.set(i, session.logits());
  }
  if (arguments.last) rows.set(0, session.logits());

  const SafetensorsTensor tensor{
      .name = "logits",
      .type = SafetensorsType::F32,
      .shape = {static_cast<std::int64_t>(row_count), static_cast<std::int64_t>(vocabulary)},
      .bytes = rows.bytes()};
  write_safetensors(arguments.output, std::span(&tensor, 1), {{"cache", spec.to_string()}});
  return 0;
}

}  // namespace

Command add_logits_command(CLI::App& program) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* app = program.add_subcommand("logits", "Write the model's logits for given token ids");
  arguments->model.add_model(*app);
  app->add_option("--ids", arguments->ids, "Token ids as text, separated by white space; -: standard input")
      ->required()
      ->type_name("FILE");
  app->add_option("-o,--output", arguments->output, "Safetensors file to write: logits [T, vocabulary] f32")
      ->required()
      ->type_name("FILE");
  app->add_flag("--last", arguments->last, "Only the last position: logits [1, vocabulary]");
  arguments->cache.add(*app);
  app->add_option("--prefill", arguments->prefill,
                  "Ids that are the prompt; the others are decoded one by one through the compressed cache "
                  "(0: all are "
                  "the prompt, whose own logits no cache changes)")
      ->check(within(std::size_t{0}, std::size_t{1} << 40U))
      ->type_name("N");
  arguments->model.add_compute(*app);
  add_examples(
      *app,
      {"thinkey logits -m model.gguf --ids chapter.ids -o logits.safetensors --prefill-precision f32",
       "thinkey logits -m model.gguf --ids chapter.ids -o last.safetensors --last --prefill 4000 --cache "
       "snapkv:1024+think:0.4"});
  return {app, [arguments] { return execute(*arguments); }};
}

}  // namespace thinkey::cli
