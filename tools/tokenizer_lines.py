"""Lines of text that tokenizers stumble over, from a seed: scripts, emoji, joiners, runs of spaces and newlines."""

import random

SCRIPTS = [
    (0x41, 0x5A), (0x61, 0x7A), (0x61, 0x7A), (0x61, 0x7A), (0xC0, 0x17F), (0x370, 0x3FF), (0x400, 0x4FF),
    (0x531, 0x556), (0x5D0, 0x5EA), (0x621, 0x64A), (0x904, 0x939), (0x985, 0x9B9), (0xB85, 0xBB9), (0xE01, 0xE30),
    (0x10A0, 0x10C5), (0x1100, 0x1112), (0x1780, 0x17B3), (0x3041, 0x3096), (0x30A1, 0x30FA), (0x4E00, 0x9FA5),
    (0x4E00, 0x9FA5), (0xAC00, 0xD7A3), (0x1D400, 0x1D4FF), (0x20000, 0x20100), (0x10400, 0x1044F),
]
NUMBERS = [(0x30, 0x39), (0x30, 0x39), (0x30, 0x39), (0x660, 0x669), (0x966, 0x96F), (0x2160, 0x2188), (0xBC, 0xBE),
           (0xB2, 0xB3), (0x2460, 0x2473), (0xFF10, 0xFF19)]
MARKS = [(0x300, 0x36F), (0x610, 0x61A), (0x93E, 0x94D), (0x20D0, 0x20DC), (0xFE00, 0xFE0F)]
SYMBOLS = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~«»„“”…—–·•€£¥©®™°±×÷∑∫√∞≠≤≥→←↑↓♥★☆。、，！？：；「」（）｛｝～"
SPACES = " \t\n\r\u00a0\u2003\u2009\u200b\u2028\u3000\u1680\u0085\x0b\x0c"
EMOJI = ["🙂", "🚀", "👍🏽", "👩‍💻", "👨‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪🇫🇷", "☎️", "😶‍🌫️", "✅", "1️⃣", "🧑🏿‍🚀"]
ODD = ["\u200d", "\u200c", "\ufeff", "\u00ad", "\x00", "\x01", "\x1d", "\x7f", "\ufffd", "\ue000", "\U0010ffff", "\uffff"]
CONTRACTIONS = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'S", "'T", "'RE", "'Ve", "'LL", "'ſ", "''", "'x"]
WORDS = ["the", "The", "house", "of", "and", "HELLO", "camelCase", "snake_case", "x", "return", "if", "naïve", "слово",
         "слова", "λόγος", "שלום", "مرحبا", "नमस्ते", "สวัสดี", "こんにちは", "カタカナ", "世界", "你好", "한국어", "İstanbul"]


def make_lines(count, seed=20240801):
    source = random.Random(seed)

    def characters(ranges, low, high):
        begin, end = source.choice(ranges)
        return "".join(chr(source.randint(begin, end)) for _ in range(source.randint(low, high)))

    def part():
        kind = source.random()
        if kind < 0.30:
            return source.choice(["", " "]) + source.choice(WORDS)
        if kind < 0.42:
            return source.choice(["", " "]) + characters(SCRIPTS, 1, 9)
        if kind < 0.52:
            return source.choice(["", " "]) + characters(NUMBERS, 1, 12)
        if kind < 0.60:
            return "".join(source.choice(SYMBOLS) for _ in range(source.randint(1, 6)))
        if kind < 0.68:
            return source.choice(SPACES) * source.choice([1, 1, 2, 3, 4, 7, 8, 16, 33, 90])
        if kind < 0.74:
            return "".join(source.choice(SPACES) for _ in range(source.randint(1, 6)))
        if kind < 0.80:
            return "".join(source.choice(EMOJI) for _ in range(source.randint(1, 3)))
        if kind < 0.85:
            return source.choice(WORDS) + characters(MARKS, 1, 3)
        if kind < 0.90:
            return source.choice(WORDS) + source.choice(CONTRACTIONS)
        if kind < 0.94:
            return source.choice(ODD)
        if kind < 0.97:
            return source.choice("ab=-*#.\u4e00\u0e01") * source.randint(2, 70)
        return source.choice(["\n\n", "\r\n", "\n \n", "  \n", "\n\t", "://", "});\n", "\u2581", "<0x0A>", "<s>"])

    return ["".join(part() for _ in range(source.randint(1, 25))) for _ in range(count)]
