#!/usr/bin/env python3
"""Writes tests/eval/data: prediction/reference pairs with the scores LongBench's official rules give them.

    python3 -m venv venv && venv/bin/pip install rouge==1.0.1 fuzzywuzzy==0.18.0 python-Levenshtein==0.27.5 \
        jieba==0.42.1
    venv/bin/python tools/make_longbench_fixtures.py [--official LongBench/metrics.py]

The rules are transcribed here from what the official metrics.py does; ROUGE-L, the edit ratio and the Chinese
segmentation are the packages it uses. With --official, every pair is also scored by that file, and a
difference is an error. Texts are made up by this script from a fixed seed.

jieba's tables are not ours to commit: tests/eval/data/jieba holds small ones of our own in the same form,
which exercise the same code. Scores with the real tables are in pairs.json too ("..._installed"), for
machines that have jieba.
"""

import argparse
import collections
import difflib
import importlib.util
import json
import random
import re
import string
import sys
import tempfile
import unittest.mock
from pathlib import Path

import jieba
import jieba.finalseg
from fuzzywuzzy import StringMatcher, fuzz
from rouge import Rouge

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "tests" / "eval" / "data"
PAIRS = 320

WORDS = """the a an The AN of in to harbour lantern copper river letter archive window Paris O'Neil e-mail
U.S. 3.14 1,000 twenty-one naïve café Straße ΟΔΟΣ ὈΔΥΣΣΕΎΣ İstanbul ǅ Ⅷ ½ x² हिन्दी ქართული ру́сский
the\u0301 _the_ A$AP ‘quoted’ “double” … — 北京 東京 １２３ ٣٤ 😀 👩‍🚀 e\u0301 ﬁne ª ʰ""".split()
SPACES = [" "] * 12 + ["  ", "\t", "\n", "\u00a0", "\u3000", "\u2009", "\x1c", "\u200b", "\r\n", "\x85"]
ENDS = [". ", ".", "! ", "? ", "\n", " . ", "..", ".\n\n", ", "]

# Our own words, for the small dictionary; the rest of a text are characters it does not know.
CHINESE = """河边 灯塔 灯塔管理员 管理 管理员 会议 会议室 会 议员 项目 项目经理 经理 明天 上午 下午 讨论 预算 增加 减少
百分之 北京 北京大学 大学 学生 生前 前往 图书 图书馆 馆长 长江 大桥 江大桥 市长 报告 总结 因为 所以 但是 已经 完成 工作
研究 研究生 生命 起源 数据 模型 压缩 缓存 长文本 文本 回答 问题 第一 第二 段落 今年 去年 公司 收入 亿元 元 人民 人民币
中文 分词 和 的 了 在 是 有 不 我们 他们 这个 那个 一个 三 四 五 号 GPU C++ T恤""".split()
UNKNOWN = list("瑾琰槿漪岚昀霖璟翊珩杉沅苒芷茗蘅曦煜熠晗")
CHINESE_MARKS = list("，。！？；：、“”‘’《》【】（）…—·") + [" ", "\n", "\r\n", "\u3000", "3.5%", "AI", "2023", "12.",
                     "-", "_", "+", "#", "&", ".", "%", "é", "，。", "ＡＢ", "x86_64", "GPT-4", "😀"]


# The rules of the official script.

def normalise(text):
    text = "".join(c for c in text.lower() if c not in string.punctuation)
    return re.sub(r"\b(a|an|the)\b", " ", text).split()


CHINESE_PUNCTUATION = set(string.punctuation) | {chr(c) for c in (
    *range(0xFF02, 0xFF10), *range(0xFF1A, 0xFF21), *range(0xFF3B, 0xFF41), *range(0xFF5B, 0xFF65), 0xFF01,
    *range(0x3001, 0x3004), *range(0x300B, 0x3012), *range(0x3014, 0x3020), 0x3030, 0x303E, 0x303F,
    0x2013, 0x2014, 0x2018, 0x2019, 0x201B, 0x201C, 0x201D, 0x201E, 0x201F, 0x2026, 0x2027, 0xFE4F)}


def f1(prediction, reference):
    same = sum((collections.Counter(prediction) & collections.Counter(reference)).values())
    if same == 0:
        return 0.0
    precision, recall = same / len(prediction), same / len(reference)
    return 2 * precision * recall / (precision + recall)


def qa_f1(prediction, reference):
    return f1(normalise(prediction), normalise(reference))


def chinese_words(text, cut):
    words = ("".join(c for c in "".join(w.lower().split()) if c not in CHINESE_PUNCTUATION) for w in cut(text))
    return [w for w in words if w]


def rouge_l(prediction, reference):
    try:
        return Rouge().get_scores([prediction], [reference], avg=True)["rouge-l"]["f"]
    except (ValueError, RecursionError) as error:
        assert isinstance(error, ValueError), "shorten the texts: the package recursed too deep"
        return 0.0


def classification(prediction, reference, classes):
    found = [name for name in classes if name in prediction]
    for name in found:  # over the list that shrinks: that is what the official script does
        if name in reference and name != reference:
            found.remove(name)
    return 1 / len(found) if reference in found else 0.0


def share_of_numbers(prediction, wanted):
    numbers = re.findall(r"\d+", prediction)
    return sum(n == wanted for n in numbers) / len(numbers) if numbers else 0.0


def retrieval(prediction, reference, label):
    return share_of_numbers(prediction, re.findall(label + r"(\d+)", reference)[0])


def code_similarity(prediction, reference, matcher):
    line = next((l for l in prediction.lstrip("\n").split("\n")
                 if "`" not in l and "#" not in l and "//" not in l), "")
    with unittest.mock.patch.object(fuzz, "SequenceMatcher", matcher):
        return fuzz.ratio(line, reference) / 100


# Texts.

class Maker:
    def __init__(self, seed):
        self.random = random.Random(seed)

    def text(self, words, join, most):
        return "".join(self.random.choice(words) + join() for _ in range(self.random.randrange(most)))

    def english(self, most):
        return self.text(WORDS, lambda: self.random.choice(SPACES if self.random.random() < 0.85 else ENDS), most)

    def chinese(self, most):
        pieces = CHINESE * 3 + UNKNOWN * 4 + CHINESE_MARKS * 2
        return self.text(pieces, lambda: "", most)

    def mutated(self, text, words, most):
        """Something like `text`: parts cut out, put in, moved."""
        parts = [text[i:i + 7] for i in range(0, len(text), 7)]
        for _ in range(self.random.randrange(1, 6)):
            at = self.random.randrange(len(parts) + 1)
            kind = self.random.randrange(4)
            if kind == 0:
                parts[at:at + self.random.randrange(1, most)] = []
            elif kind == 1:
                parts.insert(at, self.random.choice(words))
            elif kind == 2 and parts:
                parts.insert(at, parts.pop(self.random.randrange(len(parts))))
            else:
                parts[at:at] = parts[:self.random.randrange(1, 4)]
        return "".join(parts)

    def pairs(self, make, words, most, edges):
        """Edge cases, then random pairs, related more often than not."""
        found = [(a, b) for a in edges for b in edges]
        while len(found) < PAIRS:
            reference = make(most)
            prediction = make(most) if self.random.random() < 0.2 else self.mutated(reference, words, 5)
            found.append((prediction, reference))
        return found[:PAIRS]


CODE = ["    return ", "self.", "x", " = ", "np.zeros(", "(i, j)", "if ", " not in ", "for ", ":", "\t", "[0]", "{}", ";",
        "std::vector<int>", "await ", "foo_bar", "Größe", "变量", "'", '"', ")", "(", ", ", "== ", "None", "0x1F"]


def code_pairs(maker):
    rng = maker.random
    edges = ["", "\n", "# comment", "`x`", "// c", "x = 1", "a" * 250]
    found = [(a, b) for a in edges for b in edges]

    def line(most):
        return maker.text(CODE, lambda: "", most)

    while len(found) < PAIRS:
        reference = line(90 if rng.random() < 0.25 else 20)  # some beyond 200 characters
        wanted = line(20) if rng.random() < 0.15 else maker.mutated(reference, CODE, 3)
        before = rng.choice(["", "\n", "\n\n", "```python\n", "# note\n", "// note\n", " \n"])
        found.append((before + wanted + rng.choice(["", "\n", "\n" + line(10)]), reference))
    return found


CLASSES = ["Food", "Animal", "Other animal", "Human", "Human group", "group", "Date", "Number of something", "Number",
           "体育", "教育", "体育教育", "社会", "", "Description of a person", "person", "a"]


def classification_cases(maker):
    rng, found = maker.random, []
    while len(found) < PAIRS:
        classes = rng.sample(CLASSES, rng.randrange(1, 9))
        if rng.random() < 0.2:
            classes.append(rng.choice(classes))
        reference = rng.choice(classes if rng.random() < 0.85 else CLASSES)
        prediction = rng.choice(["", " ", "Type: "]) + " or ".join(rng.sample(CLASSES, rng.randrange(0, 4)))
        if rng.random() < 0.6:
            prediction += reference
        found.append((prediction, reference, classes))
    return found


def number_pairs(maker, references):
    rng, found = maker.random, []
    pieces = ["Paragraph ", "段落", " and ", "7", "07", "12", "1", "3.5", "２", "٣", " ", "\n", "x", "no", "-7", "，", "30", ""]
    while len(found) < PAIRS:
        reference, wanted = references(rng)
        prediction = maker.text(pieces + [wanted] * 6, lambda: rng.choice(["", " ", ", "]), 7)
        found.append((prediction, reference))
    return found


def numbered(label):
    def make(rng):
        number = rng.choice(["1", "7", "12", "30", "２", "٣"])
        around = rng.choice(["{}", "{} ", "see {}, not " + label + "9", label + "x {}"])
        return around.format(label + number), number
    return make


def counted(rng):
    number = rng.choice(["1", "7", "12", "0", "", "２", "7 "])
    return number, number


# The small jieba.

def write_small_jieba(directory):
    rng = random.Random(5)
    (directory / "finalseg").mkdir(parents=True, exist_ok=True)
    lines = [f"{word} {rng.choice([0, 1, 3, 20, 150, 900, 4000]) if len(word) > 1 else rng.randrange(5, 3000)} n"
             for word in CHINESE]
    lines += [f"{a}{b} {rng.randrange(1, 30)} nr" for a, b in zip(UNKNOWN[::3], UNKNOWN[1::3])]
    (directory / "dict.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    characters = sorted({c for word in CHINESE for c in word if "\u4e00" <= c <= "\u9fd5"} | set(UNKNOWN[:-4]))

    def number(low):
        return -round(rng.uniform(0.5, low), 12)

    emission = {state: {c: number(12) for c in characters if rng.random() < 0.8} for state in "BEMS"}
    start = {"B": -0.25, "E": -3.14e100, "M": -3.14e100, "S": -1.5}
    transition = {"B": {"E": -0.5, "M": -0.9}, "E": {"B": -0.6, "S": -0.8}, "M": {"E": -0.3, "M": -1.3},
                  "S": {"B": -0.7, "S": -0.7}}
    for name, table in (("start", start), ("trans", transition), ("emit", emission)):
        (directory / "finalseg" / f"prob_{name}.py").write_text(f"P={ascii(table)}\n".replace("}, '", "},\n'"))
    return start, transition, emission


def check_official(path, cases):
    spec = importlib.util.spec_from_file_location("official", path)
    official = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(official)
    names = {"qa_f1": "qa_f1_score", "rouge_l": "rouge_score", "classification": "classification_score",
             "retrieval": "retrieval_score", "retrieval_zh": "retrieval_zh_score", "count": "count_score",
             "qa_f1_zh_installed": "qa_f1_zh_score", "rouge_l_zh_installed": "rouge_zh_score",
             "code_difflib": "code_sim_score", "code_levenshtein": "code_sim_score"}
    for metric, name in names.items():
        matcher = difflib.SequenceMatcher if metric == "code_difflib" else StringMatcher.StringMatcher
        with unittest.mock.patch.object(fuzz, "SequenceMatcher", matcher):
            for case in cases[metric]:
                more = {"all_classes": case["classes"]} if "classes" in case else {}
                score = getattr(official, name)(case["prediction"], case["reference"], **more)
                assert abs(score - case["score"]) < 1e-12, (metric, case, score)
        print(f"{metric}: {len(cases[metric])} pairs as the official script")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--official", help="the official metrics.py, to compare every score with")
    arguments = parser.parse_args()
    maker = Maker(2407)
    english = maker.pairs(maker.english, WORDS, 22, ["", " ", ".", "the", "a. . b", "...", "Yes."])
    chinese = maker.pairs(maker.chinese, CHINESE + UNKNOWN, 26, ["", " ", "。", "我们", "a.b", "\r\n", "研究生命起源"])
    chosen = {
        "qa_f1": (qa_f1, english),
        "rouge_l": (rouge_l, english),
        "retrieval": (lambda p, r: retrieval(p, r, "Paragraph "), number_pairs(maker, numbered("Paragraph "))),
        "retrieval_zh": (lambda p, r: retrieval(p, r, "段落"), number_pairs(maker, numbered("段落"))),
        "count": (share_of_numbers, number_pairs(maker, counted)),
    }
    code = code_pairs(maker)
    chosen["code_difflib"] = (lambda p, r: code_similarity(p, r, difflib.SequenceMatcher), code)
    chosen["code_levenshtein"] = (lambda p, r: code_similarity(p, r, StringMatcher.StringMatcher), code)

    def row(score, *texts):
        return dict(zip(("prediction", "reference", "classes"), texts)) | {"score": score}

    cases = {name: [row(score(*texts), *texts) for texts in pairs] for name, (score, pairs) in chosen.items()}
    cases["classification"] = [row(classification(*case), *case) for case in classification_cases(maker)]

    def add_chinese(suffix, cut):
        cases["qa_f1_zh" + suffix] = [row(f1(chinese_words(p, cut), chinese_words(r, cut)), p, r) for p, r in chinese]
        cases["rouge_l_zh" + suffix] = [row(rouge_l(" ".join(cut(p)), " ".join(cut(r))), p, r) for p, r in chinese]
        cases["words" + suffix] = [{"text": r, "words": list(cut(r))} for _, r in chinese[::4]]

    jieba.setLogLevel("ERROR")
    add_chinese("_installed", jieba.cut)
    if arguments.official:
        check_official(arguments.official, cases)
    tables = write_small_jieba(DATA / "jieba")
    small = jieba.Tokenizer(str(DATA / "jieba" / "dict.txt"))
    with tempfile.TemporaryDirectory() as temporary:
        small.tmp_dir = temporary
        with unittest.mock.patch.multiple(jieba.finalseg, start_P=tables[0], trans_P=tables[1], emit_P=tables[2]):
            add_chinese("", small.cut)

    # Texts once, with the scores of every metric that uses them.
    rows = {"english": [("qa_f1", "rouge_l")], "code": [("code_difflib", "code_levenshtein")],
            "chinese": [("qa_f1_zh", "rouge_l_zh", "qa_f1_zh_installed", "rouge_l_zh_installed")],
            **{name: [(name,)] for name in ("retrieval", "retrieval_zh", "count", "classification")}}
    output = {}
    for group, [metrics] in rows.items():
        output[group] = []
        for i, case in enumerate(cases[metrics[0]]):
            output[group].append({k: case[k] for k in ("prediction", "reference", "classes") if k in case}
                                 | {metric: cases[metric][i]["score"] for metric in metrics})
    for name in ("words", "words_installed"):
        output[name] = cases[name]
    lines = [f"{json.dumps(name)}: [\n" + ",\n".join(json.dumps(c, ensure_ascii=False) for c in group) + "\n]"
             for name, group in output.items()]
    (DATA / "pairs.json").write_text("{" + ",\n".join(lines) + "}\n", encoding="utf-8")
    for name, group in cases.items():
        if "score" in group[0]:
            values = sorted(c["score"] for c in group)
            print(f"{name}: {len(group)} pairs, {sum(0 < v < 1 for v in values)} strictly between 0 and 1")
    return 0


if __name__ == "__main__":
    sys.exit(main())
