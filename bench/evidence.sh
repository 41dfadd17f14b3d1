#!/usr/bin/env bash
# Measures the tables under "Evidence" in docs/results.md: every eviction policy, alone and with ThinK, KIVI and our
# variants, at budgets of 10, 20 and 50 percent, on the same samples. An interrupted run goes on where it stopped.
#
#   bench/evidence.sh OUT [options of thinkey eval, such as -t 1]
#
# THINKEY and MODEL say which program and model; LENGTHS, REPEATS, SAMPLES, WINDOWS how much is measured.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
out=${1:?usage: bench/evidence.sh OUT [options]}
shift
options=("$@")
thinkey=${THINKEY:-build/release/bin/thinkey}
model=${MODEL:-models/thinkey-needle.gguf}
mkdir -p "$out"

variants=("" +think:0.4,form=paper +think:0.5,form=paper +think:0.6,form=paper +think:keys=0.4,values=0.3,form=paper +kivi:4 +kivi:2 +think:0.4,form=paper+kivi:4
  +think:0.4,form=paper+kivi:2 +think:0.6,bias,form=paper +think:0.6 +think:0.8)
caches=(--cache full)
for variant in "${variants[@]:1}"; do caches+=(--cache "full$variant"); done
for budget in 10 20 50; do
  for policy in streaming:$budget% h2o:$budget% pyramidkv:$budget%,kernel=7,pool=max snapkv:$budget%,kernel=7,pool=max; do
    for variant in "${variants[@]}"; do caches+=(--cache "$policy$variant"); done
  done
done

# The text of the held-out documents, which is what this model knows to continue.
python3 - models/samples/needle-4k.jsonl >"$out/documents.txt" <<'PYTHON'
import json
import sys

for line in open(sys.argv[1], encoding="utf-8"):
    print(json.loads(line)["document"])
PYTHON

evaluate() { # NAME options...
  local name=$1
  shift
  "$thinkey" eval "$@" -m "$model" "${options[@]}" --results "$out/$name.jsonl"
}
report() { # NAME
  echo --json "$out/$1.json" --html "$out/$1.html" --markdown "$out/$1.md"
}

# shellcheck disable=SC2046  # the words of report are meant to be split
{
  needle=(needle --lengths "${LENGTHS:-1k,2k,4k}" --depths 0,25,50,75,100 --repeats "${REPEATS:-2}")
  evaluate needle "${needle[@]}" "${caches[@]}" $(report needle) >/dev/null
  # The figure shows some of them, from the same results.
  chosen=(--cache full --cache streaming:20% --cache h2o:20% --cache pyramidkv:20%,kernel=7,pool=max)
  for variant in "" +think:0.4,form=paper +think:0.5,form=paper +think:0.6,form=paper +think:0.8 +think:0.4,form=paper+kivi:4; do
    chosen+=(--cache "snapkv:20%,kernel=7,pool=max$variant")
  done
  evaluate needle "${needle[@]}" "${chosen[@]}" $(report needle-figure) >/dev/null
  evaluate ruler ruler --lengths 4k --samples "${SAMPLES:-5}" "${caches[@]}" $(report ruler) >/dev/null
  evaluate kl kl -f "$out/documents.txt" --prompt 3500 --continuation 256 --samples "${WINDOWS:-8}" "${caches[@]}" \
    $(report kl) >/dev/null
  evaluate perplexity perplexity -f "$out/documents.txt" -c 2048 --chunks 16 --prefill-precision f32 --decode-precision f32 \
    $(report perplexity) >/dev/null
}
python3 tools/evidence_tables.py "$out" >"$out/tables.md"
echo "$out/tables.md"
