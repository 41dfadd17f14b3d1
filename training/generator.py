"""Documents with hidden facts ("needles"), questions about them, and the answers.

A *sample* is a document made of haystack sentences with needles at random depth and
a list of (question, answer) pairs. The haystack is synthetic prose from the templates
below or, in training, real documentation found on the machine.
"""
import gzip
import random
import re
import zlib
from pathlib import Path

PLACES = """Lisbon Oslo Cairo Lima Quito Dublin Prague Vienna Warsaw Athens Madrid Berlin Rome Paris London Tokyo
Seoul Delhi Hanoi Manila Jakarta Perth Sydney Boston Denver Dallas Austin Chicago Havana Bogota Caracas Santiago
Nairobi Lagos Accra Tunis Rabat Dakar Riga Tallinn Vilnius Helsinki Geneva Zurich Milan Naples Venice Turin
Porto Seville Bruges Ghent Leiden Utrecht Bergen Malmo Cork Galway York Bath Leeds Oxford Cambridge Bristol
Salem Tampa Omaha Tulsa Fresno Reno Boise Toledo Mobile Macon""".split()
NAMES = """Alice Bruno Clara Dmitri Elena Farid Greta Henry Irene Jonas Karin Lucas Marta Nadia Oscar Petra Quentin
Rosa Stefan Tamara Ulrich Vera Walter Xenia Yusuf Zelda Amir Bella Carlos Diana Edgar Fiona George Hilda Ivan
Judith Kevin Laura Martin Nora Olga Paul Ruth Simon Teresa Victor Wendy Anton Birgit Cecil""".split()
COLOURS = """red blue green amber silver golden violet crimson copper ivory scarlet grey purple orange white black
pale dark bright quiet hollow frozen hidden broken distant gentle iron stone wooden glass velvet misty""".split()
CREATURES = """falcon otter badger heron salmon beetle raven fox wolf lynx sparrow turtle dolphin owl hare stag
crane pigeon lizard spider hornet panther tiger eagle walrus beaver magpie robin cobra moth lantern anchor
harbour river mountain meadow forest canyon glacier island valley bridge tower castle garden orchard mill
ladder compass hammer kettle mirror needle violin trumpet candle basket wagon engine""".split()
SYLLABLES = """ba ke li mo nu ra se ti vo zu dar fen gol hin jor kal lum mar nor pel quin ros sal tor ul ven wex yar
zim bren cro dral flin grom""".split()

PEOPLE = """farmer teacher baker sailor doctor painter clerk miller librarian gardener captain carpenter traveller
merchant widow student engineer nurse fisherman shepherd postman lawyer musician neighbour stranger cook
watchmaker inspector governor apprentice""".split()
ADJECTIVES = """old young tired cheerful careful narrow heavy small large strange familiar ordinary dusty warm cold
wet dry empty crowded simple curious patient nervous honest clever slow sudden late early broad steep
polite stubborn famous forgotten plain""".split()
THINGS = """letter table chair window door map coat lamp book ledger boat cart barrel rope box parcel painting clock
bench stove bottle bucket drum flute hat key knife notebook pipe plate sack saddle shovel umbrella wheel coin
newspaper blanket picture ticket""".split()
SITES = """market station church school kitchen cellar library square courtyard barn workshop inn museum theatre
hospital farm village town road path hill field shore pier lake well gate wall street corner attic chapel
bakery post office town hall""".replace("post office", "post_office").replace("town hall", "town_hall").split()
SITES = [site.replace("_", " ") for site in SITES]
VERBS = """found carried repaired sold bought painted watched borrowed lost dropped described measured hid cleaned
opened closed moved noticed ignored remembered examined delivered returned wrapped collected counted kept
replaced""".split()
TIMES = """in the morning|after lunch|before dawn|late at night|on Sunday|last winter|in early spring|during the storm
|after the harvest|at noon|the next day|a week later|every evening|once a year|for the first time|without a word
|when the rain stopped|as the sun went down|on the way home|in the summer""".replace("\n", "").split("|")
WEATHER = "rain snow fog wind hail frost sunshine thunder drizzle heat".split()

# {p}erson {q} another person {a}djective {b} another {t}hing {u} another {s}ite {r} another
# {v}erb {w} another {m}oment {n}umber {c}ity {x} name {h} weather
TEMPLATES = [
    "The {a} {p} {v} a {b} {t} {m}.", "{m}, the {p} {v} the {t} near the {s}.",
    "{x} {v} the {a} {t} and walked to the {s}.", "There was a {a} {t} beside the {s}.",
    "Nobody in the {s} had seen the {p} since the {h} began.", "The {p} told {x} that the {t} was {a}.",
    "The road from {c} to the {s} was {a} and {b}.", "It took {n} days to travel from the {s} to {c}.",
    "The {s} was built in {y} by a {a} {p}.", "{x} paid {n} coins for a {t} and a {a} {u}.",
    "The {h} kept the {p} away from the {s} {m}.", "Every {p} knew the {a} {s} behind the {r}.",
    "A {p} from {c} {v} the {t}, but the {q} {w} the {u}.", "{x} and the {p} sat in the {s} {m}.",
    "The {t} was too {a} for the {p}, so {x} {v} it.", "In {y} the {s} still had a {a} {t}.",
    "They spoke about the {h} and the price of a {t}.", "The {p} {v} {n} letters from {c} {m}.",
    "{x} wrote a {a} letter to the {p} in {c}.", "The {s} smelled of {h} and of the {a} {t}.",
    "When the {p} arrived, the {t} was already in the {s}.", "The {a} {p} asked {x} about the {b} {t}.",
    "Some say the {p} never {v} the {t} at all.", "The {s} in {c} is {a}, but the {r} is {b}.",
    "The {p} could not decide whether the {t} was {a} or {b}.", "After the {h}, {x} {v} the {t} again.",
    "The train to {c} left {m} with {n} passengers.", "{x} kept a {t} under the {u} in the {s}.",
    "The {p} counted {n} sheep on the {a} hill.", "Old {x} used to say that a {a} {t} is better than a {b} {u}.",
    "The letter from {c} was about the {t} in the {s}.", "House number {n} stood between the {s} and the {r}.",
    "{x} never went to {c} again.", "The {k} was painted on the door of the {s}.",
    "A {k} is a strange name for a {s}.", "The archive of the {s} holds {n} pages about {c}.",
]

# needles and questions, in the same order: {k} the key, {v} the value
KEYED_NEEDLES = [
    "The passkey for {k} is {v}.", "The access code for {k} is {v}.", "The secret number of {k} is {v}.",
    "Remember that the passkey for {k} is {v}.", "The pass key of {k} is {v}.", "The code for {k} is {v}.",
]
KEYED_QUESTIONS = [
    ["What is the passkey for {k}?", "Which passkey belongs to {k}?", "Tell me the passkey for {k}."],
    ["What is the access code for {k}?", "Which access code belongs to {k}?", "Tell me the access code for {k}."],
    ["What is the secret number of {k}?", "Which secret number belongs to {k}?", "Tell me the secret number of {k}."],
    ["What is the passkey for {k}?", "Which passkey belongs to {k}?", "Give me the passkey for {k}."],
    ["What is the pass key of {k}?", "Which pass key belongs to {k}?", "Tell me the pass key of {k}."],
    ["What is the code for {k}?", "Which code belongs to {k}?", "Tell me the code for {k}."],
]
PLAIN_NEEDLES = [
    "The pass key is {v}. Remember it.", "The passkey is {v}.", "Remember this: the pass key is {v}.",
    "The secret pass key is {v}. Do not forget it.",
]
PLAIN_QUESTIONS = ["What is the pass key?", "What is the passkey?", "Tell me the pass key.",
                   "Which pass key was given?"]


def held_out(key, value):
    """True for the eighth of all key/value pairs that training never shows."""
    return zlib.crc32(f"{key}={value}".encode()) % 8 == 0


def random_key(rng):
    """A name: a place, a person, an adjective-noun pair, or an invented word."""
    kind = rng.random()
    if kind < 0.25:
        return rng.choice(PLACES)
    if kind < 0.4:
        return rng.choice(NAMES)
    if kind < 0.8:
        return f"{rng.choice(COLOURS)} {rng.choice(CREATURES)}"
    return "".join(rng.choice(SYLLABLES) for _ in range(rng.randint(2, 3))).capitalize()


def random_value(rng):
    """Five digits as a string, without a leading zero."""
    return str(rng.randint(10000, 99999))


def sentence(rng):
    """One sentence of synthetic prose; about a sixth of them contain numbers or key-like names."""
    pick = rng.choice
    number = str(rng.randint(2, 99) if rng.random() < 0.6 else rng.randint(100, 99999))
    text = pick(TEMPLATES).format(
        p=pick(PEOPLE), q=pick(PEOPLE), a=pick(ADJECTIVES), b=pick(ADJECTIVES), t=pick(THINGS), u=pick(THINGS),
        s=pick(SITES), r=pick(SITES), v=pick(VERBS), w=pick(VERBS), m=pick(TIMES), n=number, y=rng.randint(1650, 1990),
        c=pick(PLACES), x=pick(NAMES), h=pick(WEATHER), k=f"{pick(COLOURS)} {pick(CREATURES)}")
    return text[0].upper() + text[1:]


def prose(rng, count):
    """`count` synthetic sentences, each with the separator before it, grouped in paragraphs."""
    pieces = []
    until_break = rng.randint(4, 9)
    for _ in range(count):
        until_break -= 1
        pieces.append(("\n" if until_break == 0 else " ") + sentence(rng))
        if until_break == 0:
            until_break = rng.randint(4, 9)
    return pieces


MOST_BYTES_PER_FILE = 150_000  # so that no single file dominates


class Documentation:
    """Real English text from freely licensed documentation on this machine, cut into sentences."""

    def __init__(self, limit_bytes=6_000_000, skip_bytes=0,
                 roots=("/usr/share/common-licenses", "/usr/share/doc", "/usr/share/perl")):
        """Read `limit_bytes` of distinct paragraphs below `roots`, in a fixed order, after skipping whole files.

        Training reads the first bytes; tests skip past them and get files that training never saw.
        """
        seen, self.pieces, self.size = set(), [], 0
        skipped = 0
        for path in self._files(roots):
            pieces, taken = [], 0
            for piece in self._sentences(path, seen):
                pieces.append(piece)
                taken += len(piece)
                if taken > MOST_BYTES_PER_FILE:
                    break
            if skipped <= skip_bytes and skip_bytes:
                skipped += taken
                continue
            self.pieces += pieces
            self.size += taken
            if self.size > limit_bytes:
                break

    @staticmethod
    def _files(roots):
        suffixes = (".txt", ".txt.gz", ".md", ".md.gz", ".rst", ".rst.gz", ".pod", "README", "README.gz", "copyright",
                    "NEWS.gz", "FAQ", "FAQ.gz")
        found = [p for root in roots for p in Path(root).rglob("*")
                 if p.is_file() and (p.name.endswith(suffixes) or root.endswith("licenses"))]
        return sorted(set(found), key=lambda p: zlib.crc32(p.name.encode() + str(p).encode()))

    @staticmethod
    def _sentences(path, seen):
        try:
            data = gzip.open(path).read() if path.suffix == ".gz" else path.read_bytes()
        except OSError:
            return
        for paragraph in re.split(r"\n\s*\n", data.decode("utf-8", "ignore")):
            text = " ".join(paragraph.split())
            letters = sum(c.isascii() and (c.isalpha() or c == " ") for c in text)
            if len(text) < 80 or letters < 0.85 * len(text) or text in seen:
                continue  # tables, code and repeated boilerplate teach nothing here
            seen.add(text)
            for i, piece in enumerate(re.split(r"(?<=[.!?;:]) ", text)):
                yield ("\n" if i == 0 else " ") + piece[:400]

    def excerpt(self, rng, count):
        """`count` consecutive sentences from a random place."""
        start = rng.randrange(max(1, len(self.pieces) - count))
        return self.pieces[start:start + count]


def needles(rng, keyed, plain, test, alike=0.0):
    """Facts as (sentence, question, answer); keys are distinct. `test` takes the held-out pairs only.

    `alike` is the chance that a value begins with the same one to three digits as another value: then the
    digits before do not tell how the value goes on, only the key does.
    """
    facts, used = [], set()
    # several needles of one form with different keys: mostly one wording per document
    form = rng.randrange(len(KEYED_NEEDLES)) if rng.random() < 0.7 else None
    while len(facts) < keyed:
        key, value = random_key(rng), random_value(rng)
        if alike and facts and rng.random() < alike:
            shared = rng.randint(1, 3)
            value = rng.choice(facts)[2][:shared] + value[shared:]
        if key in used or held_out(key, value) != test:
            continue
        used.add(key)
        index = rng.randrange(len(KEYED_NEEDLES)) if form is None else form
        question = rng.choice(KEYED_QUESTIONS[index]).format(k=key)
        facts.append((KEYED_NEEDLES[index].format(k=key, v=value), question, value))
    while plain:
        value = random_value(rng)
        if held_out("", value) != test:
            continue
        facts.append((rng.choice(PLAIN_NEEDLES).format(v=value), rng.choice(PLAIN_QUESTIONS), value))
        plain -= 1
    return facts


def hide(rng, pieces, facts):
    """Insert the facts between the pieces at uniform depths; returns (text, depths), depths in 0..1 by characters."""
    places = [(rng.randint(0, len(pieces)), fact) for fact in facts]
    out, spans = [], {}
    length = 0
    for i in range(len(pieces) + 1):
        for place, fact in places:
            if place == i:
                spans[fact[0]] = length
                out.append(" " + fact[0])
                length += len(out[-1])
        if i < len(pieces):
            out.append(pieces[i])
            length += len(out[-1])
    text = "".join(out).lstrip()
    return text, [round(spans[fact[0]] / max(1, length), 3) for fact in facts]


def cut(pieces, budget, encode):
    """The longest prefix of `pieces` of at most `budget` tokens."""
    sizes = [len(ids) for ids in encode(pieces)]
    total = 0
    for i, size in enumerate(sizes):
        total += size
        if total > budget:
            return pieces[:i]
    return pieces


def test_sample(rng, kind, tokens, encode, documentation=None):
    """One held-out sample whose document has about `tokens` tokens; kind is 'passkey' or 'multikey'."""
    facts = needles(rng, rng.randint(4, 8) if kind == "multikey" else 0, kind == "passkey", True)
    budget = tokens - sum(len(ids) for ids in encode([" " + fact[0] for fact in facts]))
    pieces = documentation.excerpt(rng, tokens // 8) if documentation else prose(rng, tokens // 8)
    document, depths = hide(rng, cut(pieces, budget, encode), facts)
    asked = rng.randrange(len(facts))
    return {"kind": kind, "document": document, "question": facts[asked][1], "answer": facts[asked][2],
            "depth": depths[asked]}
