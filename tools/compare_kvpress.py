#!/usr/bin/env python3
"""The same methods in kvpress and in thinkey's ThinCache, in the same transformers model on the same prompts.

    tools/compare_kvpress.py smollm2.gguf TEXT... [--prompt 2048] [--continuation 64] [--windows 3]

Each window of the text is prefilled and compressed, then the text's next tokens are fed one by one. Printed, as
Markdown: bytes that keys and values take, the mean divergence of next-token distributions from the uncompressed model's
(KL, nats), the share of steps with the same likeliest token, and times. Needs torch, transformers, gguf, kvpress and the thinkey package.
"""

import argparse
import contextlib
import time
from pathlib import Path

import kvpress
import torch
from transformers import AutoModelForCausalLM, DynamicCache

import thinkey
from thinkey.hf import ThinCache

METHODS = [
    ("SnapKV, a quarter of the tokens", lambda: kvpress.SnapKVPress(0.75), "snapkv:25%,window=64"),
    ("ThinK, 40 % of key channels", lambda: kvpress.ThinKPress(0.4), "think:0.4,form=paper,recent=0"),
    (
        "SnapKV and ThinK",
        lambda: kvpress.ComposedPress([kvpress.SnapKVPress(0.75), kvpress.ThinKPress(0.4)]),
        "snapkv:25%,window=64+think:0.4,form=paper,recent=0",
    ),
    ("Expected Attention, a quarter", lambda: kvpress.ExpectedAttentionPress(0.75), "expected:25%"),
    ("Ada-KV over SnapKV, a quarter", lambda: kvpress.AdaKVPress(kvpress.SnapKVPress(0.75)), "snapkv:25%,window=64,adakv"),
]
# Not in kvpress: recent tokens whole, bits by channel, quantized.
OWN = ["think:0.4", "snapkv:25%,window=64+think:0.4", "snapkv:25%,window=64+think:0.4+kivi:4"]


def bytes_of(cache):
    if isinstance(cache, ThinCache):
        return cache.bytes
    return sum(t.numel() * t.element_size() for layer in cache.layers for t in (layer.keys, layer.values))


def measure(model, tokens, prompt, cache, press):
    """Log-probabilities [steps, V] of the tokens after the prompt, and seconds of prefill and of a step."""
    rows = []
    start = time.perf_counter()
    with press(model) if press else contextlib.nullcontext():
        rows.append(model(tokens[:, :prompt], past_key_values=cache, logits_to_keep=1).logits[0, -1])
    prefill = time.perf_counter() - start
    size = bytes_of(cache)
    start = time.perf_counter()
    for i in range(prompt, tokens.shape[1] - 1):
        position = torch.tensor([[i]])
        rows.append(
            model(tokens[:, i : i + 1], past_key_values=cache, position_ids=position, cache_position=position[0]).logits[0, -1]
        )
    step = (time.perf_counter() - start) / max(1, len(rows) - 1)
    return torch.stack(rows).double().log_softmax(-1), prefill, step, size


@torch.no_grad()
def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("text", type=Path, nargs="+")
    parser.add_argument("--prompt", type=int, default=2048)
    parser.add_argument("--continuation", type=int, default=64)
    parser.add_argument("--windows", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model = AutoModelForCausalLM.from_pretrained(
        options.model.parent, gguf_file=options.model.name, dtype=torch.float32
    ).eval()
    ids = thinkey.Model.load(options.model, repack=False).tokenize(
        "\n".join(path.read_text(encoding="utf-8") for path in options.text)
    )
    length = options.prompt + options.continuation
    starts = [i * (len(ids) - length) // max(1, options.windows - 1) for i in range(options.windows)]
    windows = [torch.tensor([ids[s : s + length]]) for s in starts]
    runs = [("no compression", "transformers", "sdpa", lambda: None, None), ("", "thinkey `full`", "thinkey", None, "full")]
    for name, press, spec in METHODS:
        runs.append((name, "kvpress", "sdpa", press, None))
        runs.append(("", f"thinkey `{spec}`", "thinkey", None, spec))
    runs += [("what thinkey does by default", f"thinkey `{spec}`", "thinkey", None, spec) for spec in OWN]
    reference = []
    print("| method | by | MiB | KL | same token | prefill s | ms/token |\n| --- | --- | ---: | ---: | ---: | ---: | ---: |")
    for name, by, attention, press, spec in runs:
        model.set_attn_implementation(attention)
        sums = torch.zeros(5, dtype=torch.float64)
        for w, tokens in enumerate(windows):
            cache = ThinCache(spec, model) if spec else DynamicCache()
            rows, prefill, step, size = measure(model, tokens, options.prompt, cache, press() if press else None)
            if len(reference) <= w:
                reference.append(rows)
            full = reference[w]
            kl = (full.exp() * (full - rows)).sum(-1).mean()
            same = (full.argmax(-1) == rows.argmax(-1)).double().mean()
            sums += torch.tensor([size / 2**20, kl, same, prefill, 1000 * step], dtype=torch.float64)
        mib, kl, same, prefill, step = (sums / len(windows)).tolist()
        print(f"| {name} | {by} | {mib:.1f} | {kl:.4f} | {100 * same:.1f} % | {prefill:.2f} | {step:.1f} |", flush=True)


if __name__ == "__main__":
    main()
