#!/usr/bin/env bash
# What --lookup brings where answers repeat their prompt: quoting, editing code, summarising.
#   bench/lookup.sh MODEL.gguf ESSAY.txt [SPEC]     a chat model; an essay of some thousand words; --cache SPEC
# Greedy, 200 tokens, without and with --lookup 8 by turns; the answers must be equal.
set -euo pipefail
cd "$(dirname "$0")/.."

model=${1:?usage: bench/lookup.sh MODEL.gguf ESSAY.txt [SPEC]}
essay=${2:?usage: bench/lookup.sh MODEL.gguf ESSAY.txt [SPEC]}
spec=${3:-full}
thinkey=${THINKEY:-build/release/bin/thinkey}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

{ cat "$essay"; printf '\n\nQuote, word for word, the first four paragraphs of the essay above.'; } >"$work/quote"
{ cat "$essay"; printf '\n\nSummarise the essay above in about ten sentences.'; } >"$work/summarise"
{
  printf '```cpp\n'
  cat bench/decode_attention_bench.cpp
  printf '```\n\nRename the function normal to noise, change nothing else, and print the whole file.'
} >"$work/edit"

for task in quote edit summarise; do
  for lookup in 0 8; do
    "$thinkey" run -m "$model" --chat -f "$work/$task" --temp 0 -n 200 --cache "$spec" --lookup "$lookup" \
      >"$work/$task.$lookup" 2>"$work/report"
    echo "$task, --lookup $lookup: $(grep -E '^(answer|lookup)' "$work/report" | sed 's/^[a-z]* *//' | paste -sd ';')"
  done
  cmp "$work/$task.0" "$work/$task.8"
done
