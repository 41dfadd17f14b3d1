"""Make the tiny random checkpoints of the model families, with what transformers computes from them.

Beside those of make_model_fixtures.py and in the same form: <name>/ (a Hugging Face directory, its config.json spelled
as checkpoints are published), <name>.gguf (by llama.cpp's own converter) and <name>.expected.safetensors: `ids` [T],
`logits` [T, V] of transformers in f32 with eager attention, and `greedy`, the 64 tokens that follow. Every feature that
a family lists under `off` is switched off once, and must then change the logits visibly.

Usage: make_family_fixtures.py LLAMA_CPP [NAME ...] [--out FOLDER]
LLAMA_CPP is a checkout of llama.cpp. Needs torch, transformers (made with 5.24), accelerate, safetensors, gguf and
sentencepiece.
"""
import argparse
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file

from family_fixtures import containers, reference
from family_fixtures.families import FAMILIES


def fixture(family, out, checkout):
    for seed in range(400):
        model = reference.build(family, seed)
        result = reference.expected(family, model, seed)
        if result is not None:
            break
    else:
        raise SystemExit(f"{family.name}: no seed gives a healthy continuation")
    effects = reference.effects(family, model, result)
    listed = ", ".join(f"{feature} {effect:.0%}" for feature, effect in effects.items())
    print(f"{family.name}: seed {seed}, logits up to {np.abs(result['logits']).max():.1f}, "
          f"{len(set(result['greedy'].tolist()))} distinct greedy tokens; without: {listed}", flush=True)
    weak = [feature for feature, effect in effects.items() if effect < reference.LEAST_EFFECT]
    if weak:
        raise SystemExit(f"{family.name}: these hardly matter: {', '.join(weak)}")
    directory = out / family.name
    containers.write_directory(family, model, directory)
    error = containers.reading_error(directory, result) if family.reread else 0
    if error > 1e-4:
        raise SystemExit(f"{family.name}: what was written reads differently, by {error}")
    save_file(result, out / f"{family.name}.expected.safetensors")
    (out / f"{family.name}.expected.safetensors").chmod(0o644)
    if family.gguf:
        containers.write_gguf(family, directory, out / f"{family.name}.gguf", checkout)


def main():
    parser = argparse.ArgumentParser(description="Make the tiny random checkpoints of the model families.")
    parser.add_argument("checkout", type=Path, metavar="LLAMA_CPP")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent.parent / "tests/fixtures/model")
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    for family in FAMILIES:
        if not options.names or family.name in options.names:
            fixture(family, options.out, options.checkout)


if __name__ == "__main__":
    main()
