#!/usr/bin/env bash
# Measures the tables under "Real models" in docs/results.md: divergence at equal bytes, needles among essays, RULER,
# LongBench in the layout of ThinK's tables, and arithmetic with chains of thought, the specs of one model sharing
# prefills. An interrupted run goes on where it stopped; added specs cost only themselves.
#
#   bench/evidence_models.sh MODEL.gguf OUT [PART ...] [-- options of thinkey eval, such as -t 1]
#
# PARTS: kl needle ruler longbench arithmetic (all). THINKEY says which program; ESSAYS a folder of plain texts;
# LONGBENCH the benchmark's files; LENGTHS, RULER_LENGTHS, REPEATS, SAMPLES, LIMIT, CONTINUATION how much is measured.
set -euo pipefail
thinkey=${THINKEY:-build/release/bin/thinkey}
model=${1:?usage: bench/evidence_models.sh MODEL.gguf OUT [PART ...]}
out=${2:?usage: bench/evidence_models.sh MODEL.gguf OUT [PART ...]}
shift 2
parts=()
while (($#)) && [[ $1 != -- ]]; do parts+=("$1") && shift; done
(($#)) && shift
((${#parts[@]})) || parts=(kl needle ruler longbench arithmetic)
essays=${ESSAYS:-../shared/data/essays}
mkdir -p "$out"

caches() {
  local spec
  for spec in "$@"; do printf -- '--cache\n%s\n' "$spec"; done
}
evaluate() { # NAME options...
  local name=$1
  shift
  "$thinkey" eval "$@" -m "$model" --results "$out/$name.jsonl" --json "$out/$name.json" --markdown "$out/$name.md" \
    --html "$out/$name.html" "${options[@]}"
}
options=("$@")

# Every stage without eviction, budgets of bytes, and eviction with and without bits.
all=(full think:0.4 think:0.6 think:0.4,form=paper think:0.6,form=paper kivi:4 kivi:2 turbo:4 turbo:3 turbo:2 turbo:22% turbo:15%
  auto:12% auto:6% snapkv:10% snapkv:10%,kernel=7,pool=max snapkv:10%,chunk=10 snapkv:25%,chunk=10+turbo:4 h2o:10% expected:10%
  compactor:25%,chunk=10+turbo:4)

for part in "${parts[@]}"; do
  case $part in
    kl)
      cat "$essays"/*.txt | head -c 40000 >"$out/essays.txt"
      mapfile -t specs < <(caches kivi:4 kivi:2 turbo:4 turbo:3 turbo:2 turbo:28% turbo:22% turbo:18% turbo:15% auto:25% auto:12% think:0.6)
      evaluate kl kl -f "$out/essays.txt" --prompt 3072 --continuation "${CONTINUATION:-512}" --samples 2 --decode-precision f32 "${specs[@]}"
      ;;
    needle)
      mapfile -t specs < <(caches "${all[@]}")
      evaluate needle needle --haystack "$essays" --lengths "${LENGTHS:-1k,2k,4k}" --depths 0,25,50,75,100 --repeats "${REPEATS:-2}" "${specs[@]}"
      ;;
    ruler)
      mapfile -t specs < <(caches "${all[@]}")
      evaluate ruler ruler --haystack "$essays" --lengths "${RULER_LENGTHS:-4k}" --samples "${SAMPLES:-3}" "${specs[@]}"
      ;;
    longbench) # the paper's tables: budgets by policies by forms; ours beside them
      table=(full)
      for budget in 128 512 1024 2048; do
        for policy in "snapkv:$budget,kernel=7,pool=max" "h2o:$budget"; do
          table+=("$policy" "$policy+think:0.4,form=paper" "$policy+think:0.5,form=paper" "$policy+think:0.6,form=paper" "$policy+think:0.6")
        done
      done
      table+=(think:keys=0.4,form=paper+kivi:4 think:0.4,form=paper+kivi:2 think:0.4+kivi:4 think:keys=0.4,values=0.3,form=paper turbo:4 turbo:22% auto:12% auto:6%)
      mapfile -t specs < <(caches "${table[@]}")
      evaluate longbench longbench --data "${LONGBENCH:-../shared/data/longbench}" --limit "${LIMIT:-100}" "${specs[@]}"
      ;;
    arithmetic)
      mapfile -t specs < <(caches full kivi:4 kivi:2 turbo:4 turbo:2 auto:15% think:0.6 think:0.6,form=paper)
      evaluate arithmetic arithmetic --steps 4,8 --samples "${SAMPLES:-10}" "${specs[@]}"
      ;;
    *)
      echo "evidence_models.sh: no part \"$part\"; choose among kl needle ruler longbench arithmetic" >&2
      exit 2
      ;;
  esac
done
