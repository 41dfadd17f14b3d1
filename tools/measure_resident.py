#!/usr/bin/env python3
"""What a transformers model's process takes with transformers' own cache and with ThinCache.

    tools/measure_resident.py smollm2.gguf TEXT... [--prompt 8192]

Each cache is measured in a process of its own: the model is loaded, the prompt prefilled and a few tokens decoded. Printed,
as Markdown: bytes of keys and values by the caches' own account and by the allocator's (what our blocks have allocated), the
growth of the resident size from before the prefill to after it, freed memory having been given back, and the highest resident
size. Needs torch, transformers, gguf and the thinkey package.
"""

import argparse
import ctypes
import json
import subprocess
import sys
from pathlib import Path

CACHES = ["transformers", "full", "kivi:8", "snapkv:25%", "snapkv:25%+think:0.4", "snapkv:25%+think:0.4+kivi:4"]


def status(field):
    """MiB, of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1024
    raise KeyError(field)


def resident():
    ctypes.CDLL(None).malloc_trim(0)
    return status("VmRSS")


def measure(options):
    import torch
    from transformers import AutoModelForCausalLM, DynamicCache

    import thinkey
    from thinkey.hf import ThinCache

    torch.set_num_threads(options.threads)
    path = options.model
    ids = thinkey.Model.load(path, repack=False).tokenize("\n".join(p.read_text(encoding="utf-8") for p in options.text))
    tokens = torch.tensor([ids[: options.prompt]])
    assert tokens.shape[1] == options.prompt, "the texts are too short"
    own = options.cache == "transformers"
    model = AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, dtype=torch.float32, attn_implementation="sdpa" if own else "thinkey"
    ).eval()
    with torch.no_grad():
        # Once in small, so that libraries have what they keep.
        model(tokens[:, :64], past_key_values=DynamicCache() if own else ThinCache("full"))
        before = resident()
        Path("/proc/self/clear_refs").write_text("5")  # the highest resident size begins anew
        cache = DynamicCache() if own else ThinCache(options.cache, model)
        model(tokens, past_key_values=cache, logits_to_keep=1)
        after = resident()
        peak = status("VmHWM")
    if own:
        counted = sum(t.numel() * t.element_size() for layer in cache.layers for t in (layer.keys, layer.values))
        allocated = counted
    else:
        counted = cache.bytes
        allocated = cache._rows[0].bytes_allocated
    print(json.dumps([counted / 2**20, allocated / 2**20, after - before, peak - before]))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("text", type=Path, nargs="+")
    parser.add_argument("--prompt", type=int, default=8192)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cache", help="only this one, in this process")
    options = parser.parse_args()
    if options.cache:
        measure(options)
        return
    print("| cache | keys and values, MiB | allocated, MiB | resident size grows by, MiB | at most, MiB |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for cache in CACHES:
        done = subprocess.run(
            [sys.executable, *sys.argv, "--cache", cache], check=True, stdout=subprocess.PIPE, text=True
        )
        numbers = json.loads(done.stdout.splitlines()[-1])
        name = "transformers' own, f32" if cache == "transformers" else f"`{cache}`"
        print(f"| {name} | " + " | ".join(f"{n:.1f}" for n in numbers) + " |", flush=True)


if __name__ == "__main__":
    main()
