#!/usr/bin/env python3
"""Makes tests/fixtures/tokenizer/pipelines.json: every component of tokenizer.json that thinkey executes, in
small tokenizers trained here, with the ids and texts that the `tokenizers` package gives for difficult lines.

Needs tokenizers.
"""

import json
import random

from make_tokenizer_fixtures import FIXTURES, SEED, make_corpus
from tokenizer_lines import make_lines
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


def train_byte_level(corpus):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.train_from_iterator(corpus, trainers.BpeTrainer(
        vocab_size=420, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    return json.loads(tokenizer.to_str())["model"]


def train_characters(corpus, **options):
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", **{k: v for k, v in options.items() if k != "trainer"}))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    if "trainer" in options:
        tokenizer.normalizer = None
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    tokenizer.train_from_iterator(corpus, trainers.BpeTrainer(
        vocab_size=600, special_tokens=["<unk>"] + BYTES, limit_alphabet=90, show_progress=False,
        **options.get("trainer", {})))
    return json.loads(tokenizer.to_str())["model"]


def train_unigram(corpus):
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.train_from_iterator(corpus, trainers.UnigramTrainer(
        vocab_size=420, special_tokens=["<unk>"] + BYTES, unk_token="<unk>", show_progress=False))
    return json.loads(tokenizer.to_str())["model"]


def split(pattern, behavior="Isolated", invert=False, kind="Regex"):
    return {"type": "Split", "pattern": {kind: pattern}, "behavior": behavior, "invert": invert}


def sequence(key, *steps):
    return {"type": "Sequence", key: list(steps)}


def token(number, content, **flags):
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False}
    return {"id": number, "content": content, **plain, **flags}


METASPACE = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
BYTE_ALPHABET = {**BYTE_LEVEL, "use_regex": False}
SPACES = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
FROM_MARKS = {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}
STRIP = {"type": "Strip", "content": " ", "start": 1, "stop": 0}
LLAMA_DECODER = sequence("decoders", FROM_MARKS, {"type": "ByteFallback"}, {"type": "Fuse"}, STRIP)


def pipelines():
    """(name, model, settings of the model, the rest of the tokenizer.json)"""
    llama = {"normalizer": sequence("normalizers", {"type": "Prepend", "prepend": "▁"}, SPACES),
             "decoder": LLAMA_DECODER}
    byte = {"decoder": BYTE_LEVEL}
    yield "llama 2", "characters", {"byte_fallback": True, "fuse_unk": True}, llama
    yield "unknown, fused", "characters", {"fuse_unk": True}, llama
    yield "unknown, each", "characters", {}, llama
    yield "dropped", "characters", {"unk_token": None}, llama
    yield "whole words", "characters", {"ignore_merges": True}, {"pre_tokenizer": METASPACE, "decoder": METASPACE}
    for scheme in ("never", "first", "always"):
        for cut in (False, True):
            metaspace = {**METASPACE, "prepend_scheme": scheme, "split": cut}
            yield f"metaspace {scheme} {cut}", "characters", {"byte_fallback": True}, {
                "pre_tokenizer": metaspace, "decoder": metaspace}
    yield "gemma", "characters", {"byte_fallback": True, "fuse_unk": True}, {
        "normalizer": SPACES, "pre_tokenizer": split(" ", "MergedWithPrevious", kind="String"),
        "decoder": sequence("decoders", FROM_MARKS, {"type": "ByteFallback"}, {"type": "Fuse"})}
    yield "no decoder", "characters", {}, {"pre_tokenizer": {"type": "WhitespaceSplit"}}
    yield "suffixes", "suffixes", {}, {
        "pre_tokenizer": {"type": "Whitespace"}, "decoder": {"type": "BPEDecoder", "suffix": "</w>"}}
    yield "prefixes", "prefixes", {}, {"pre_tokenizer": {"type": "BertPreTokenizer"}, "decoder": {"type": "Fuse"}}
    yield "unigram", "unigram", {}, {"pre_tokenizer": METASPACE, "decoder": METASPACE}
    yield "unigram bytes", "unigram", {"byte_fallback": True}, {
        "normalizer": sequence("normalizers", {"type": "Nmt"}, {"type": "NFKC"},
                               {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}),
        "pre_tokenizer": METASPACE,
        "decoder": sequence("decoders", {"type": "ByteFallback"}, METASPACE)}
    for form in ("NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "Nmt", "Strip"):
        step = {"type": form}
        if form == "Strip":
            step.update(strip_left=True, strip_right=True)
        yield form, "bytes", {}, {**byte, "normalizer": step, "pre_tokenizer": BYTE_LEVEL}
    yield "accents", "bytes", {}, {
        **byte, "normalizer": sequence("normalizers", {"type": "NFD"}, {"type": "StripAccents"}, {"type": "Lowercase"}),
        "pre_tokenizer": {**BYTE_LEVEL, "add_prefix_space": True}}
    yield "byte normalizer", "bytes", {}, {**byte, "normalizer": {"type": "ByteLevel"}}
    yield "regex normalizer", "bytes", {}, {
        **byte, "normalizer": {"type": "Replace", "pattern": {"Regex": r"(?<=\w)[^\w\s]+|\s{2,}"}, "content": "~"},
        "pre_tokenizer": BYTE_LEVEL}
    for behavior in ("Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"):
        for invert in (False, True):
            for pattern in (r"[aeiou\s]", r"\p{L}+"):
                yield f"split {pattern} {behavior} {invert}", "bytes", {}, {
                    **byte, "pre_tokenizer": sequence("pretokenizers", split(pattern, behavior, invert), BYTE_ALPHABET)}
        yield f"punctuation {behavior}", "bytes", {}, {**byte, "pre_tokenizer": sequence(
            "pretokenizers", {"type": "Punctuation", "behavior": behavior}, BYTE_ALPHABET)}
    yield "digits", "bytes", {}, {**byte, "pre_tokenizer": sequence(
        "pretokenizers", {"type": "Digits", "individual_digits": False}, BYTE_ALPHABET)}
    yield "falcon", "bytes", {}, {**byte, "pre_tokenizer": sequence(
        "pretokenizers", {"type": "Punctuation", "behavior": "Contiguous"}, BYTE_LEVEL,
        {"type": "Digits", "individual_digits": False}, split("[0-9][0-9][0-9]"))}
    yield "delimiter", "bytes", {}, {**byte, "pre_tokenizer": sequence(
        "pretokenizers", {"type": "CharDelimiterSplit", "delimiter": "e"}, BYTE_ALPHABET)}
    for pattern in (r"\w+|[^\w\s]+", r"\d{1,3}(?=(?:\d{3})*\b)", r"(?=(\d{2})+(?!\d))", r"\b\w", r"\B.", r"[[:alpha:]]+",
                    r"[[:upper:]][[:lower:]]*|[[:digit:][:space:]]+", r"[\p{L}&&[^\p{Han}]]+", r"[\p{L}&&[\p{Greek}e]]+",
                    r"[^\r\n\p{L}\p{N}]?+\p{L}++", r"\h+", r"(?<!\s)\s(?!\s)", r"(?i:the|straße|k)", r"\p{^L}+?",
                    r"[^\S\n]+", r"[ab]{2}|{2", r"\A.|.\z", r"^\s+|\s+$", r"\P{M}\p{M}*", "\\\u2014|\u3002", r"\u00e9|\x41|\x{1F642}",
                    r".+"):
        yield f"pattern {pattern}", "bytes", {}, {
            **byte, "pre_tokenizer": sequence("pretokenizers", split(pattern), BYTE_ALPHABET)}
    added = [token(1000, "the", single_word=True), token(1001, "<l>", lstrip=True), token(1002, "<r>", rstrip=True),
             token(1003, "<both>", lstrip=True, rstrip=True, special=True), token(1004, "CAT", normalized=True),
             token(1005, "<end>", special=True), token(1006, "<end></end>"), token(1007, "  ")]
    yield "added tokens", "bytes", {}, {**byte, "added_tokens": added, "normalizer": {"type": "Lowercase"},
                                        "pre_tokenizer": BYTE_LEVEL}
    yield "added tokens, marks", "characters", {"byte_fallback": True}, {**llama, "added_tokens": added}


ADDED_LINES = ["the other the", "them the. bathe, the", "_the the_ thé", "a <l> b<l>c   <l>", "a <r>  b<r>\n\n c <r>", " <both>  x  <both> ",
               "cat CAT Cat concatenate", "<end><end></end> </end>", "a  b   c    d", "<r> <l>", "<l>", "  <l>  ", "x<end>",
               "\u00a0<both>\u3000<l>", "the", " the ", "<enD> the<end>the"]


def main():
    corpus = make_corpus(random.Random(SEED))
    trained = {
        "bytes": train_byte_level(corpus),
        "characters": train_characters(corpus),
        "suffixes": train_characters(corpus, end_of_word_suffix="</w>", trainer={"end_of_word_suffix": "</w>"}),
        "prefixes": train_characters(corpus, continuing_subword_prefix="##",
                                     trainer={"continuing_subword_prefix": "##"}),
        "unigram": train_unigram(corpus),
    }
    plain = ["", " ", "a", "Hello world", " two  spaces ", "x\n\ny \n z", "It's 12345 in THE straße", corpus[0], corpus[1]]
    plain += [line[:60] for line in make_lines(16, SEED)]
    cases = []
    for name, model, settings, rest in pipelines():
        whole = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
                 "pre_tokenizer": None, "post_processor": None, "decoder": None, **rest}
        tokens = len(trained[model]["vocab"])
        whole["added_tokens"] = [{**t, "id": t["id"] - 1000 + tokens} for t in whole["added_tokens"]]
        try:
            tokenizer = Tokenizer.from_str(json.dumps({**whole, "model": {**trained[model], **settings}}))
        except Exception as error:  # the package itself refuses it
            print(f"not a tokenizer: {name}: {error}")
            continue
        lines = ADDED_LINES if whole["added_tokens"] else plain
        parsed = [tokenizer.encode(line, add_special_tokens=False).ids for line in lines]
        tokenizer.encode_special_tokens = True
        ids = [tokenizer.encode(line, add_special_tokens=False).ids for line in lines]
        texts = [tokenizer.decode(line, skip_special_tokens=False) for line in ids]
        case = {"name": name, "model": model, "settings": settings, "tokenizer": whole, "lines": lines, "ids": ids}
        if lines is plain:
            del case["lines"]
        if whole["decoder"] != BYTE_LEVEL or name == "NFC":
            case["texts"] = texts
        if parsed != ids:
            case["parsed"] = parsed
        cases.append(case)
    text = json.dumps({"models": trained, "lines": plain, "cases": cases}, ensure_ascii=False, separators=(",", ":"))
    (FIXTURES / "pipelines.json").write_text(text + "\n", encoding="utf-8")
    print(f"{len(cases)} pipelines, {len(text.encode())} bytes")


if __name__ == "__main__":
    main()
