"""Exact match of the exported, quantized model on held-out samples, per length and kind."""
import argparse
import json
import random
import time
from pathlib import Path

import torch

import generator
import tokenizer as bpe
from export import read_gguf

LENGTHS = {"1k": 1024, "2k": 2048, "4k": 4096}
OVERHEAD = 40  # room for the question, the chat marks and the answer


def make_samples(path, tokens, count, seed, tokenizer, documentation=None):
    """Write `count` samples of each kind as JSON lines; the whole prompt stays below `tokens` tokens."""
    rng = random.Random(seed)
    encode = bpe.encoder(tokenizer)
    with open(path, "w") as f:
        for i in range(2 * count):
            kind = ("passkey", "multikey")[i % 2]
            sample = generator.test_sample(rng, kind, tokens - OVERHEAD, encode, documentation)
            f.write(json.dumps(sample, ensure_ascii=False) + "\n")


def make_all(folder, tokenizer, documentation, count=200):
    """Samples of all lengths: `count` of each kind in synthetic prose, half as many in unseen documentation."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for name, tokens in LENGTHS.items():
        files.append(folder / f"needle-{name}.jsonl")
        make_samples(files[-1], tokens, count, tokens, tokenizer)
    for name, tokens in LENGTHS.items():
        files.append(folder / f"docs-{name}.jsonl")
        make_samples(files[-1], tokens, count // 2, tokens + 1, tokenizer, documentation)
    return files


def prompt(sample):
    """The chat prompt of a sample, up to the point where the model answers."""
    return (f"<|endoftext|><|im_start|>user\n{sample['document']}\n\n{sample['question']}<|im_end|>\n"
            "<|im_start|>assistant\n")


@torch.no_grad()
def correct(model, tokenizer, sample):
    """Whether greedy decoding gives exactly the answer (after the space that answers begin with) and then stops.

    One pass over prompt and answer decides it: greedy decoding yields the answer if and only if
    each answer token is the most likely one after the tokens before it.
    """
    start = tokenizer.encode(prompt(sample)).ids
    answer = tokenizer.encode(" " + sample["answer"]).ids + [bpe.IM_END]
    ids = torch.tensor([start + answer])
    rows = torch.arange(len(start) - 1, ids.shape[1] - 1).unsqueeze(0)
    with torch.autocast("cpu", torch.bfloat16):
        best = model(ids, rows=rows).argmax(-1)
    return best[0].tolist() == answer, len(start)


def evaluate(gguf, files, limit=0):
    """Rows (file, kind, samples, exact match, mean prompt tokens) for JSON-lines files of samples."""
    model, tokenizer = read_gguf(gguf)
    rows = []
    for file in files:
        results = {}
        began = time.time()
        for line in file.read_text().splitlines()[:limit or None]:
            sample = json.loads(line)
            results.setdefault(sample["kind"], []).append(correct(model, tokenizer, sample))
        for kind, found in sorted(results.items()):
            rows.append((file.stem, kind, len(found), sum(ok for ok, _ in found) / len(found),
                         round(sum(n for _, n in found) / len(found))))
            print(f"{rows[-1][0]:16} {kind:9} n={rows[-1][2]:4} exact {rows[-1][3]:.3f} prompt {rows[-1][4]} tokens "
                  f"({time.time() - began:.0f} s)", flush=True)
    return rows


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("gguf", type=Path)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--limit", type=int, default=0, help="only the first lines of each file")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    evaluate(args.gguf, args.files, args.limit)


if __name__ == "__main__":
    main()
