#!/usr/bin/env python3
"""Writes what the `tokenizers` package makes of 10 000 difficult lines, for the test TokenizerLines to compare.

    tools/compare_tokenizers.py OUT [--tokenizer FILE.tokenizer.json ...] [--vocabularies DIR]
    THINKEY_TOKENIZER_LINES=OUT build/release/tests/tokenizer/thinkey_tokenizer_test --gtest_filter='TokenizerLines.*'

OUT receives lines.json, and per tokenizer NAME.tokenizer.json and NAME.ids.json. --vocabularies: ggml-vocab-*.gguf
files, as llama.cpp's source has them under models/; those whose published pre-tokenizer is written below are
made into a tokenizer.json, which is compared through both files. Needs tokenizers and gguf.
"""

import argparse
import json
import pathlib

import tokenizers
from tokenizer_lines import make_lines

END = r"|\s+(?!\S)|\s+"
CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
QWEN = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+" + END
QWEN35 = (CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+" + END)


def split(pattern):
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


def byte_level(use_regex):
    return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": use_regex}


DIGITS = {"type": "Digits", "individual_digits": True}
PIPELINES = {
    "gpt-2": [byte_level(True)],
    "mpt": [byte_level(True)],
    "llama-bpe": [split(QWEN % "{1,3}"), byte_level(False)],
    "qwen2": [split(QWEN % ""), byte_level(False)],
    "qwen35": [split(QWEN35), byte_level(False)],
    "starcoder": [DIGITS, byte_level(True)],
    "refact": [DIGITS, byte_level(True)],
    "command-r": [DIGITS, byte_level(True)],
}


def from_gguf(path, pre_tokenizers):
    import gguf

    fields = gguf.GGUFReader(path).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    types = fields["tokenizer.ggml.token_type"].contents()
    merges = []
    for line in fields["tokenizer.ggml.merges"].contents():
        cut = line.index(" ", 1)
        merges.append([line[:cut], line[cut + 1:]])
    added = [
        {"id": i, "content": t, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
         "special": kind == 3}
        for i, (t, kind) in enumerate(zip(tokens, types)) if kind in (3, 4)
    ]
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": pre_tokenizers}, "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False,
                  "ignore_merges": path.name == "ggml-vocab-llama-bpe.gguf",
                  "vocab": {t: i for i, t in enumerate(tokens)},
                  "merges": merges},
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--tokenizer", type=pathlib.Path, nargs="*", default=[])
    parser.add_argument("--vocabularies", type=pathlib.Path)
    parser.add_argument("--lines", type=int, default=10000)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    lines = make_lines(arguments.lines)
    (arguments.out / "lines.json").write_text(json.dumps(lines))

    descriptions = {path.name.removesuffix(".tokenizer.json"): path.read_text() for path in arguments.tokenizer}
    if arguments.vocabularies:
        for name, pipeline in PIPELINES.items():
            path = arguments.vocabularies / f"ggml-vocab-{name}.gguf"
            if path.exists():
                descriptions[name] = json.dumps(from_gguf(path, pipeline))
                link = arguments.out / f"{name}.gguf"
                link.unlink(missing_ok=True)
                link.symlink_to(path.resolve())
    for name, description in descriptions.items():
        tokenizer = tokenizers.Tokenizer.from_str(description)
        tokenizer.encode_special_tokens = True
        ids = [tokenizer.encode(line, add_special_tokens=False).ids for line in lines]
        texts = [tokenizer.decode(line, skip_special_tokens=False) for line in ids]
        (arguments.out / f"{name}.tokenizer.json").write_text(description)
        (arguments.out / f"{name}.ids.json").write_text(json.dumps({"ids": ids, "texts": texts}))
        print(f"{name}: {sum(map(len, ids))} ids")


if __name__ == "__main__":
    main()
