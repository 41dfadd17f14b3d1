#!/usr/bin/env bash
# thinkey beside other engines: the same file, by turns, tokens per second and our ratio to the fastest.
#
#   bench/peers.sh MODEL.gguf [DEPTH...]        depths of prefill and decode; 512 8192
#
# Programs that are not given are left out:
#   LLAMA_BENCH=.../llama-bench        llama.cpp (its AMX path can be kept out: LLAMA_BENCH_OPTIONS="--repack 0")
#   IK_SWEEP=.../llama-sweep-bench     ik_llama.cpp
#   OPENVINO_PYTHON=.../python         an interpreter that has openvino-genai (reads GGUF)
#   THINKEY=build/release/bin/thinkey  ours
#   THREADS, ROUNDS (3)                threads of all; turns, of which the median counts
set -euo pipefail
cd "$(dirname "$0")/.."

model=$(realpath "${1:?usage: bench/peers.sh MODEL.gguf [DEPTH...]}")
shift
depths=("${@:-512}")
(($#)) || depths=(512 8192)
[[ -n ${IK_SWEEP:-} ]] && IK_SWEEP=$(realpath "$IK_SWEEP")
thinkey=${THINKEY:-build/release/bin/thinkey}
threads=${THREADS:-$(nproc)}
rounds=${ROUNDS:-3}
steps=24 # tokens decoded at a depth
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Each prints lines "prefill DEPTH RATE" and "decode DEPTH RATE"; decode 0 is an empty context.
# As the others do, ours brings the weights into the products' form before the clock starts.
run_thinkey() {
  local lengths
  lengths=$(IFS=,; echo "0,${depths[*]}")
  "$thinkey" bench -m "$model" -t "$threads" --prefill-weights kept -p "$lengths" -n "$steps" --json | python3 -c '
import json, sys
figures = json.load(sys.stdin)
for row in figures["prefill"]:
    print("prefill", row["tokens"], row["tokens_per_second"])
for row in figures["decode"]:
    print("decode", row["depth"], row["batch"] / row["seconds_per_step"])'
}

run_llama_cpp() {
  local depth options=()
  read -ra options <<<"${LLAMA_BENCH_OPTIONS:-}"
  bench() { "$LLAMA_BENCH" -m "$model" -t "$threads" -r 1 -fa 1 -o json "${options[@]}" "$@" 2>/dev/null; }
  rate() { python3 -c 'import json, sys; print(json.load(sys.stdin)[0]["avg_ts"])'; }
  echo "decode 0 $(bench -p 0 -n "$steps" | rate)"
  for depth in "${depths[@]}"; do
    echo "prefill $depth $(bench -p "$depth" -n 0 | rate)"
    echo "decode $depth $(bench -p 0 -n "$steps" -d "$depth" | rate)"
  done
}

# Its steps of 512 tokens, prefill and decode at each: a prompt takes the sum of its steps, and other depths count as
# the whole steps within them. It reports on standard error, fails at the end of its context, and leaves a log behind.
run_ik_llama_cpp() {
  local last=0 depth
  for depth in "${depths[@]}"; do ((depth > last)) && last=$depth; done
  { (cd "$work" && "$IK_SWEEP" -m "$model" -t "$threads" -c $((last + 512 + steps)) -b 512 -ub 512 -n "$steps" -fa 1 2>&1) ||
    true; } |
    DEPTHS="0 ${depths[*]}" python3 -c '
import os, sys
seconds, decode = {0: 0.0}, {}
for line in sys.stdin:
    cells = [cell.strip() for cell in line.split("|")[1:-1]]
    if len(cells) < 7 or not cells[0].isdigit():
        continue
    pp, _, at, prefill, _, _, rate = cells[:7]
    seconds[int(at) + int(pp)] = seconds[int(at)] + float(prefill)
    decode[int(at)] = float(rate)
for depth in map(int, os.environ["DEPTHS"].split()):
    steps = depth // 512 * 512
    if steps in seconds and steps > 0:
        print("prefill", depth, steps / seconds[steps])
    if steps in decode:
        print("decode", depth, decode[steps])'
}

run_openvino() {
  MODEL=$model DEPTHS="${depths[*]}" STEPS=$steps THREADS=$threads "$OPENVINO_PYTHON" - <<'PYTHON' 2>/dev/null
import os
import numpy as np
import openvino as ov
import openvino_genai as genai

threads, steps = int(os.environ["THREADS"]), int(os.environ["STEPS"])
pipeline = genai.LLMPipeline(os.environ["MODEL"], "CPU", INFERENCE_NUM_THREADS=threads)
def figures(tokens):  # of a prompt of its own: the pipeline keeps the blocks of earlier ones, and finds them by their first tokens
    config = genai.GenerationConfig(max_new_tokens=steps + 1, min_new_tokens=steps + 1, do_sample=False, ignore_eos=True)
    ids = np.random.default_rng(tokens).integers(1000, 20000, (1, tokens))
    inputs = genai.TokenizedInputs(ov.Tensor(ids.astype(np.int64)), ov.Tensor(np.ones((1, tokens), np.int64)))
    metrics = pipeline.generate(inputs, config).perf_metrics
    return 1e3 * tokens / metrics.get_ttft().mean, 1e3 / metrics.get_tpot().mean
figures(16)  # warm
print("decode 0", figures(1)[1])
for depth in map(int, os.environ["DEPTHS"].split()):
    prefill, decode = figures(depth)
    print("prefill", depth, prefill)
    print("decode", depth, decode)
PYTHON
}

programs=(thinkey)
[[ -n ${LLAMA_BENCH:-} ]] && programs+=(llama_cpp)
[[ -n ${IK_SWEEP:-} ]] && programs+=(ik_llama_cpp)
[[ -n ${OPENVINO_PYTHON:-} ]] && programs+=(openvino)
for ((round = 1; round <= rounds; ++round)); do
  for program in "${programs[@]}"; do
    echo "peers.sh: round $round of $rounds, $program" >&2
    "run_$program" >>"$work/$program" || echo "peers.sh: $program failed in round $round" >&2
  done
done

grep -m1 'model name' /proc/cpuinfo | sed 's/.*: //' || true
echo "$model, $threads threads, $rounds rounds, medians in tokens/s; full cache"
cd "$work" && python3 - "${programs[@]}" <<'PYTHON'
import statistics
import sys

programs = sys.argv[1:]
rows = {}
for program in programs:
    try:
        lines = open(program).read().split("\n")
    except FileNotFoundError:
        continue
    for line in filter(None, lines):
        kind, depth, rate = line.split()
        rows.setdefault((kind != "prefill", int(depth)), {}).setdefault(program, []).append(float(rate))
print("| | " + " | ".join(programs) + " | ratio to the fastest other |")
print("| --- |" + " ---: |" * (len(programs) + 1))
for (decode, depth), rates in sorted(rows.items()):
    medians = {program: statistics.median(found) for program, found in rates.items()}
    others = [rate for program, rate in medians.items() if program != "thinkey"]
    ratio = f"{medians['thinkey'] / max(others):.2f}" if others and "thinkey" in medians else "-"
    cells = [f"{medians[program]:.1f}" if program in medians else "-" for program in programs]
    name = f"prefill {depth}" if not decode else f"decode at {depth}" if depth else "decode, empty context"
    print(f"| {name} | " + " | ".join(cells) + f" | {ratio} |")
PYTHON
