#!/usr/bin/env python3
"""Puts the JSON files of bench/evidence.sh side by side: Markdown tables with one row per cache.

usage: evidence_tables.py DIRECTORY    (also writes DIRECTORY/needle.svg from the needle report)
"""
import json
import re
import sys
from pathlib import Path

POLICIES = {"full": "no eviction", "streaming": "StreamingLLM", "h2o": "H2O", "pyramidkv": "PyramidKV", "snapkv": "SnapKV"}
VARIANTS = [
    ("", "alone"), ("think:0.4,form=paper", "+ ThinK 0.4"), ("think:0.5,form=paper", "+ ThinK 0.5"), ("think:0.6,form=paper", "+ ThinK 0.6"),
    ("think:0.4,values=0.3,form=paper", "+ ThinK 0.4 keys, 0.3 values"), ("kivi:4", "+ KIVI 4"), ("kivi:2", "+ KIVI 2"),
    ("think:0.4,form=paper+kivi:4", "+ ThinK 0.4 + KIVI 4"), ("think:0.4,form=paper+kivi:2", "+ ThinK 0.4 + KIVI 2"),
    ("think:0.6,bias,form=paper", "+ ThinK 0.6, bias"), ("think:0.6", "+ ThinK 0.6, mixed"),
    ("think:0.8", "+ ThinK 0.8, mixed"),
]


def stages(cache):
    """(policy, budget, the rest) of a canonical spec."""
    first, _, rest = cache.partition("+")
    name = first.partition(":")[0]
    if name in ("think", "kivi"):
        return "full", "", cache
    budget = re.search(r"(\d+%)", first)
    return name, budget.group(1) if budget else "", rest


def read(directory, name):
    """{stages: entry} of one evaluation."""
    data = json.loads((directory / f"{name}.json").read_text(encoding="utf-8"))
    return {stages(entry["cache"]): entry for entry in data["caches"]}


def mean_where(entry, **labels):
    """Mean score of the groups with these labels, in percent."""
    chosen = [g for g in entry["groups"] if all(g[name] in wanted for name, wanted in labels.items())]
    samples = sum(g["samples"] for g in chosen)
    return 100 * sum(g["score"] * g["samples"] for g in chosen) / samples if samples else float("nan")


def rows(results, policy, budget):
    needle, ruler, kl = results
    for rest, name in VARIANTS:
        key = (policy, budget, rest)
        if key not in needle:
            continue
        single = mean_where(ruler[key], task=["niah_single_1", "niah_single_2", "niah_multikey_1"])
        hard = mean_where(ruler[key], task=["niah_multikey_2", "niah_multivalue", "niah_multiquery"])
        asked = mean_where(ruler[key], category=["question answering"])
        yield (f"| {POLICIES[policy]} {name} | {100 * kl[key]['share_of_full']:.1f} % | {100 * needle[key]['score']:.0f} % | "
               f"{single:.0f} % | {hard:.0f} % | {asked:.0f} % | {kl[key]['kl']:.4f} | {100 * kl[key]['top1']:.1f} % | "
               f"{kl[key]['perplexity_ratio']:.3f} |")


HEADER = """| cache | bytes of full | needle | RULER single, multikey 1 | RULER multikey 2, multi-value, -query | RULER QA | KL, nats | same top token | perplexity ratio |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"""


def main():
    directory = Path(sys.argv[1])
    results = [read(directory, name) for name in ("needle", "ruler", "kl")]
    print("No eviction:\n")
    print(HEADER)
    print("\n".join(rows(results, "full", "")))
    for budget in ("10%", "20%", "50%"):
        print(f"\nBudget {budget[:-1]} % of the prompt's tokens per KV head:\n")
        print(HEADER)
        for policy in list(POLICIES)[1:]:
            print("\n".join(rows(results, policy, budget)))
    page = (directory / "needle-figure.html").read_text(encoding="utf-8")
    svg = page[page.index("<svg"):page.index("</svg>") + len("</svg>\n")]
    (directory / "needle.svg").write_text(svg, encoding="utf-8")
    ruler = json.loads((directory / "ruler.json").read_text(encoding="utf-8"))
    tasks = list(dict.fromkeys(g["task"] for g in ruler["caches"][0]["groups"]))
    print("\nRULER by task, 4096 tokens:\n")
    print("| cache | " + " | ".join(tasks) + " |\n| --- |" + " ---: |" * len(tasks))
    for cache in ("full", "streaming:20%", "h2o:20%", "pyramidkv:20%,kernel=7,pool=max", "snapkv:20%,kernel=7,pool=max",
                  "snapkv:20%,kernel=7,pool=max+think:0.4,form=paper", "snapkv:20%,kernel=7,pool=max+think:0.6,form=paper",
                  "snapkv:20%,kernel=7,pool=max+think:0.4,form=paper+kivi:4"):
        entry = results[1].get(stages(cache))
        if entry:
            print(f"| `{cache}` | " + " | ".join(f"{mean_where(entry, task=[t]):.0f}" for t in tasks) + " |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
