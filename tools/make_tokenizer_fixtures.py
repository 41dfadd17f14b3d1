#!/usr/bin/env python3
"""Makes tests/fixtures/tokenizer: small vocabularies of our own and what their reference libraries do.

Trains, on a corpus this script generates from a seed, two SentencePiece BPE models and four
byte-level BPE tokenizers (one per pre-tokenizer), and writes
  spm.json, spm_plain.json   tables of the SentencePiece models: with byte fallback and dummy prefix;
                             with an unknown token and user-defined pieces, without prefix
  spm.tokenizer.json         the first one as the `tokenizers` library holds it (merges, no scores)
  bpe_<pre>.tokenizer.json   byte-level BPE
  ids.json                   test strings and each tokenizer's ids for them

Usage: make_tokenizer_fixtures.py [--smollm2 tokenizer.json]
With --smollm2, ids.json also holds the ids of that (uncommitted) vocabulary.
Needs sentencepiece and tokenizers.
"""

import argparse
import io
import json
import pathlib
import random

import sentencepiece
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

FIXTURES = pathlib.Path(__file__).resolve().parent.parent / "tests" / "fixtures" / "tokenizer"
SEED = 20240731

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def make_corpus(random_source):
    """Lines of invented words in several scripts, code, numbers and punctuation."""
    alphabets = {
        "latin": (list("bcdfghklmnprstvw"), list("aeiou")),
        "accents": (list("bcdflmnprstçñ"), list("aeéèêüöå")),
        "cyrillic": (list("бвгджзклмнпрст"), list("аеиоуя")),
        "greek": (list("βγδκλμνπρσ"), list("αεηιο")),
    }

    def word(name):
        consonants, vowels = alphabets[name]
        return "".join(
            random_source.choice(consonants) + random_source.choice(vowels)
            for _ in range(random_source.randint(1, 4))
        )

    common = {name: [word(name) for _ in range(60)] for name in alphabets}
    han = "我在想作天地人水火山川日月今明学生工"
    emoji = ["🙂", "🚀", "👍", "👩‍💻", "✅"]
    lines = []
    for _ in range(3000):
        name = random_source.choices(list(alphabets), [6, 2, 2, 1])[0]
        words = [random_source.choice(common[name]) for _ in range(random_source.randint(3, 12))]
        kind = random_source.random()
        if kind < 0.15:
            lines.append(
                f"    {words[0]} = {words[1]}({random_source.randint(0, 9999)}, {words[2]}[i]);"
                f"  // {words[0]}'s"
            )
        elif kind < 0.25:
            lines.append("".join(random_source.choice(han) for _ in range(12)) + "。")
        elif kind < 0.35:
            lines.append(f"It's {words[0]} and we'll {words[1]}, don't {words[2]}!")
        elif kind < 0.4:
            lines.append(" ".join(words[:3]) + " " + random_source.choice(emoji) * 2)
        elif kind < 0.45:
            lines.append("\t" + words[0] + "  " + words[1] + "   " + words[2])
        else:
            lines.append(" ".join(words).capitalize() + random_source.choice([".", "?", "!", "..."]))
    return lines


def make_strings(random_source, corpus):
    strings = [
        "", " ", "  ", "   ", "\t", "\n", "\n\n", "\r\n", "\r\n\r\n  x", "\t\n", "a", " a", "a ", "  a  b   c    ",
        "Hello world", " Hello world!", "Hello,   world", "hello\nworld\n\n\nagain\n", "trailing space \n next",
        "It's we'll DON'T I'M you're they'Ve 'tis ''' 'S 'ſ x'ſ",
        "for (int i = 0; i < 10; ++i) { sum += a[i] * 0x1F; }  // add\n\treturn sum;\n",
        "def f(x):\n    if x:\n        return 1\n\n    return {'a': [1, 2.5e-3]}\n",
        "3", "33", "333", "3333", "33333", "333333", "3333333", "1,234,567.89", "v1.2.3-rc4", "12 345  6",
        "½ ² Ⅻ ٣٤٥ १२३ 𝟘𝟙", "x²+y³=z", "1a2b3c", "3.14159265358979", "007",
        "Führer café naïve Ångström façade", "e\u0301 a\u0308 n\u0303o", "\u0301alone", "Z\u0351\u0343a\u0334l\u0321go",
        "нещо на Български", "Ελληνικά κείμενα", "שלום עולם", "مرحبا بالعالم", "नमस्ते दुनिया", "កាន់តែពិសេស", "ไทยแลนด์",
        "我想在apple工作1314151天～", "日本語のテスト。カタカナ", "한국어 문장입니다", "我在想", "𠜎𠜱𡃁",
        "🚀 (normal) 😶‍🌫️ (joined) ✅", "👩‍💻👨‍👩‍👧‍👦🏳️‍🌈", "🇩🇪🇫🇷 ☎️", "🙂🙂🙂", " 🦙.cpp",
        "\x00", "a\x00b", "\x01\x02\x1f\x7f", "\x1c\x1d\x1e", "\u0085next", "no\u00a0break", "\u180evowel", "\u200bzero\u200d",
        "line\u2028sep\u2029par", "\u3000wide\u3000space", "\u1680 \u2003 em", "\ufeffBOM", "\ufffd\uffff\U0010ffff",
        "!!!!!!", "------=======", "''''''```````\"\"\"\"......!!!!!!??????", "$100 + 5% < 7^2 ~ |x| `code` <=>",
        "« guillemets » „quotes“ — dash…", "@user #tag http://example.org/a?b=c&d=%20", "C:\\path\\file.txt",
        "(((([[[[{{{{", "\n   \n  \n \n", "   \n\t \r\n \t  end", "word\n", " \n word", "a\u0000 \u0000",
        "MixedCASE camelCase snake_case SCREAMING_CASE kebab-case", "Latin кирилица 漢字 العربية mixed 123 🙂 done",
        "\u2581", "a\u2581b", "<0x0A>", "<s>", "</s> <unk>", "ĠHello Ċ", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "ababababababababab", "bababababa", " " * 40 + "x" + " " * 17, "\n" * 9, "=" * 33,
    ]
    for line in random_source.sample(corpus, 12):
        strings.append(line)
    strings.append(" ".join(random_source.sample(corpus, 12)))
    strings.append("".join(random_source.choice("abcdeio ") for _ in range(700)))
    strings.append("a" * 501)
    pool = "aeé b1 9\n\t.,'🙂我жλ\u0301\u200d\u00a0x "
    for _ in range(12):
        strings.append("".join(random_source.choice(pool) for _ in range(random_source.randint(2, 40))))
    return strings


SPECIAL_STRINGS = [
    "<|im_start|>user\nhello<|im_end|>\n", "a<tool>b", "<tool><tool> x </tool>", "<|im_start|><|im_end|>",
    "<|im_start|", "x <|im_end|> y", " <tool> ", "<|im_<|im_end|>end|>", "<too<tool>l>", "", "plain",
]


SENTENCEPIECE_SPECIAL_STRINGS = [
    "<s>", "</s>bo", "bo</s>", "bo<s>ka</s> ka", "<s><s>  x", "a<unk>b", " <s> ", "<s", "</s></s", "<</s>s>", "", "plain",
]


# --- SentencePiece ---------------------------------------------------------------------------------


def train_sentencepiece(corpus, **options):
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(corpus), model_writer=model, model_type="bpe", normalization_rule_name="identity",
        remove_extra_whitespaces=False, split_digits=True, num_threads=1, minloglevel=2,
        max_sentence_length=100000, **options,
    )
    return sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())


def sentencepiece_tables(processor, user_defined=(), prefix=True):
    def type_of(i):
        if processor.is_unknown(i):
            return 2
        if processor.is_control(i):
            return 3
        if processor.is_byte(i):
            return 6
        if processor.is_unused(i):
            return 5
        return 4 if processor.id_to_piece(i) in user_defined else 1

    count = processor.get_piece_size()
    return {
        "tokens": [processor.id_to_piece(i) for i in range(count)],
        "types": [type_of(i) for i in range(count)],
        "scores": [processor.get_score(i) for i in range(count)],
        "bos": processor.bos_id(), "eos": processor.eos_id(), "unknown": processor.unk_id(),
        "add_space_prefix": prefix,
    }


def sentencepiece_as_merges(tables):
    """The same model for the `tokenizers` library: every way to make a piece from two others is a
    merge, ordered by the score of what it makes."""
    vocabulary = {token: i for i, token in enumerate(tables["tokens"])}
    ordinary = {token for token, kind in zip(tables["tokens"], tables["types"]) if kind == 1}
    merges = []
    for token in ordinary:
        for cut in range(1, len(token)):
            if token[:cut] in ordinary and token[cut:] in ordinary:
                left, right = token[:cut], token[cut:]
                merges.append((-tables["scores"][vocabulary[token]], vocabulary[left], vocabulary[right], left, right))
    merges.sort()
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[(m[3], m[4]) for m in merges], unk_token="<unk>",
                                     fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
                                           decoders.Strip(" ", 1, 0)])
    tokenizer.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in ("<unk>", "<s>", "</s>")])
    return tokenizer


# --- byte-level BPE --------------------------------------------------------------------------------


def split(pattern):
    return pre_tokenizers.Split(Regex(pattern), behavior="isolated")


def train_byte_level(corpus, pre):
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    splitters = {
        "gpt-2": [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)],
        "smollm": [pre_tokenizers.Digits(individual_digits=True),
                   pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)],
        "llama-bpe": [split(LLAMA3), byte_level],
        "default": [split(r"[\p{P}\$\+<=>\^~\|]+"), split(GPT2), split(r"\p{N}+"), split("[0-9][0-9][0-9]"), byte_level],
    }[pre]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = splitters[0] if len(splitters) == 1 else pre_tokenizers.Sequence(splitters)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=560, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
                                  special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"], show_progress=False)
    tokenizer.train_from_iterator(corpus, trainer)
    tokenizer.add_tokens([AddedToken("<tool>", normalized=False), AddedToken("<tool></tool>", normalized=False)])
    if pre == "llama-bpe":
        # A pre-token that is in the vocabulary but that no merge makes, as Llama 3 has some.
        description = json.loads(tokenizer.to_str())
        model = description["model"]
        model["ignore_merges"] = True
        for added in description["added_tokens"]:
            if added["id"] >= 560:
                added["id"] += 1
        model["vocab"]["ĠHello"] = 560
        tokenizer = Tokenizer.from_str(json.dumps(description))
    return tokenizer


# ---------------------------------------------------------------------------------------------------


def write(name, value):
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    (FIXTURES / name).write_text(text + "\n", encoding="utf-8")


def encode_all(tokenizer, strings):
    return [tokenizer.encode(text, add_special_tokens=False).ids for text in strings]


def special_ids(tokenizer, strings):
    """Ids with special tokens found in the text and, as the tokenizer then stays, taken as text."""
    parsed = encode_all(tokenizer, strings)
    tokenizer.encode_special_tokens = True
    return {"strings": strings, "parsed": parsed, "as_text": encode_all(tokenizer, strings)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smollm2", type=pathlib.Path, help="SmolLM2's tokenizer.json")
    arguments = parser.parse_args()
    FIXTURES.mkdir(parents=True, exist_ok=True)

    corpus = make_corpus(random.Random(SEED))
    strings = make_strings(random.Random(SEED + 1), corpus)
    ids = {}

    spm = train_sentencepiece(corpus, vocab_size=720, byte_fallback=True, character_coverage=0.995,
                              allow_whitespace_only_pieces=True)
    tables = sentencepiece_tables(spm)
    write("spm.json", tables)
    ids["spm"] = [spm.encode(text) for text in strings]
    merged = sentencepiece_as_merges(tables)
    write("spm.tokenizer.json", json.loads(merged.to_str()))
    special = {"spm": special_ids(merged, SENTENCEPIECE_SPECIAL_STRINGS)}
    ids["spm.tokenizer"] = encode_all(merged, strings)

    user_defined = ["<tool>", "▁▁", "🙂"]
    plain = train_sentencepiece(corpus, vocab_size=400, character_coverage=0.98, user_defined_symbols=user_defined,
                                add_dummy_prefix=False)
    write("spm_plain.json", sentencepiece_tables(plain, user_defined, prefix=False))
    ids["spm_plain"] = [plain.encode(text) for text in strings]

    for pre in ("gpt-2", "smollm", "llama-bpe", "default"):
        tokenizer = train_byte_level(corpus, pre)
        ids[f"bpe_{pre}"] = encode_all(tokenizer, strings)
        special[f"bpe_{pre}"] = special_ids(tokenizer, SPECIAL_STRINGS)
        if pre == "default":
            # These splits exist in GGUF files only; a tokenizer.json cannot name them, so the test does.
            tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
        write(f"bpe_{pre}.tokenizer.json", json.loads(tokenizer.to_str()))
    if arguments.smollm2:
        tokenizer = Tokenizer.from_file(str(arguments.smollm2))
        special["smollm2"] = special_ids(tokenizer, SPECIAL_STRINGS)
        ids["smollm2"] = encode_all(tokenizer, strings)

    write("ids.json", {"strings": strings, "ids": ids, "special": special})
    for path in sorted(FIXTURES.iterdir()):
        print(f"{path.stat().st_size:8d}  {path.name}")


if __name__ == "__main__":
    main()
