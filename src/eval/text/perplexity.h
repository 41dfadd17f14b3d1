// Perplexity of a text in llama.cpp's convention, also through compressed caches; and the divergence of
// compressed caches from the full one on long continuations.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "eval/report/report.h"
#include "eval/run/run.h"
#include "eval/run/task.h"
#include "thinkey/model.h"

namespace thinkey::eval {

struct PerplexityOptions {
  std::string text;
  std::string name;                        // of the text, for the record
  std::size_t chunk = 512;                 // tokens, llama.cpp's n_ctx
  std::optional<std::size_t> chunks = {};  // at most; nullopt: as many as there are
};

// The text, with the tokens that the model's file wants at its start, is cut into chunks; the first token of
// each is replaced by BOS if the file adds one; of each the tokens chunk/2 + 1 ... chunk - 1 are scored. The
// spec `full` runs a chunk in one prefill as llama.cpp does; any other spec prefills the tokens 0 ... chunk/2
// and decodes the others through the compressed cache. Error(Data) when the text has fewer than two chunks.
[[nodiscard]] Task perplexity_task(std::shared_ptr<const Model> model, const PerplexityOptions& options);
[[nodiscard]] Report perplexity_report(const RunIdentity& identity, const RunOutcome& outcome);

struct Perplexity {
  double value = 0.0;
  double uncertainty = 0.0;  // one standard error, as llama.cpp prints it
  std::size_t tokens = 0;
};
// Of records with nll_sum, nll_squares and tokens.
[[nodiscard]] Perplexity perplexity_of(const std::vector<Record>& records, const std::string& cache);

struct DivergenceOptions {
  std::string text;
  std::string name;
  std::size_t prompt = 2048;       // tokens prefilled, then compressed
  std::size_t continuation = 256;  // tokens then fed one by one
  std::size_t samples = 8;         // windows of the text, evenly spread over it
  std::size_t context = 0;
  // The same model, decoding as `run` does where that differs: how far its full cache is from the first's is
  // the least that a cache can be told by there. May be null.
  std::shared_ptr<const Model> as_run = {};
};

// Each window runs under the full cache and under every spec, all fed the text's own tokens; compared are the
// distributions of each next token, the one after the prompt included. Error(Data) when the text is too
// short.
[[nodiscard]] Task divergence_task(std::shared_ptr<const Model> model, const DivergenceOptions& options);
[[nodiscard]] Report divergence_report(const RunIdentity& identity, const RunOutcome& outcome);

}  // namespace thinkey::eval
