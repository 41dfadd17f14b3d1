"""Train the needle model: tokenizer, curriculum training, export and evaluation in one command."""
import argparse
import random
import time
from dataclasses import asdict
from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer

import curve
import evaluate
import export
import generator
import tokenizer as bpe
from model import Config, Llama, head_start

# (steps, sequence length, sequences per step, largest position span, share of copying drills,
#  weights of an answer's first tokens, weight of the text loss)
# Short and dense first. A span above the length adds gaps to the position ids, so far RoPE distances are seen early.
# The first digit decides which needle is copied: it counts more until keys are compared well. The next ones are then
# the hardest: the digit before them occurs in many places, so they need the key once more.
FIRST, EVEN, SECOND, MIDDLE = (4, 1, 1, 1, 1, 1), (1, 1, 1, 1, 1, 1), (2, 5, 1, 1, 1, 1), (1, 3, 4, 3, 1.5, 1)
SPACED = (1, 3, 3, 3, 2, 1, 1)
STAGES = [
    (160, 128, 48, 256, 0.4, FIRST, 0.3), (120, 256, 24, 1024, 0.2, FIRST, 0.3), (160, 512, 12, 4096, 0.1, FIRST, 0.3),
    (160, 1024, 6, 8192, 0.05, FIRST, 0.3), (100, 1024, 6, 8192, 0.05, EVEN, 0.1),
    (190, 1024, 6, 8192, 0.05, SECOND, 0.1), (150, 2048, 3, 8192, 0, SECOND, 0.1), (150, 4096, 2, 8192, 0, SECOND, 0.1),
    (120, 2048, 3, 8192, 0, SECOND, 0.1), (40, 4096, 2, 8192, 0, SECOND, 0.1),
    (80, 1024, 6, 8192, 0, MIDDLE, 0.1), (50, 2048, 3, 8192, 0, MIDDLE, 0.1), (40, 4096, 2, 8192, 0, MIDDLE, 0.1),
    (120, 1024, 6, 8192, 0, MIDDLE, 0.1), (50, 2048, 3, 8192, 0, MIDDLE, 0.1), (30, 4096, 2, 8192, 0, MIDDLE, 0.1),
    (100, 1024, 6, 8192, 0, SPACED, 0.1), (40, 2048, 3, 8192, 0, SPACED, 0.1), (30, 4096, 2, 8192, 0, SPACED, 0.1),
    (120, 1024, 6, 8192, 0, SPACED, 0.1), (100, 2048, 3, 8192, 0, SPACED, 0.1), (160, 4096, 2, 8192, 0, SPACED, 0.1),
]
# From this step on, answers in the chat form begin with a space. The digits then follow the same token as in the
# needle, which tells the first digit of a number from the inner ones; without it inner digits were mixed up.
SPACE_FROM = 1720
ALIKE_FROM, ALIKE = 1520, 0.5  # from this step on, half of the values share their first digits with another one
# (steps, peak of the rate, share of the steps in which it falls, value it falls to, relative to the peak)
CYCLES = [(1190, 1, 0.5, 0), (160, 0.5, 1, 0.2), (170, 0.4, 1, 0), (200, 0.5, 1, 0), (170, 0.5, 1, 0), (380, 0.5, 1, 0)]
SHORT_MIX = 0.25  # share of later steps that go back to an earlier length
LM_SHARE = 0.15  # share of document tokens that carry the plain next-token loss
COPY = -1  # kind of the drills' repeated tokens
DOCS_SHARE = 0.35  # share of documents made of real documentation


class Data:
    """Builds training batches; every step has its own random generator, so a run can be resumed."""

    def __init__(self, tokenizer, documentation, seed):
        self.encode = bpe.encoder(tokenizer)
        self.documentation = documentation
        self.seed = seed
        self.stops = {i for t, i in tokenizer.get_vocab().items() if t.endswith((".", "Ċ"))}
        words = generator.PLACES + generator.NAMES + generator.COLOURS + generator.CREATURES + list("0123456789")
        self.names = sorted({i for ids in self.encode([" " + word for word in words]) for i in ids})
        self.newline, = self.encode(["\n"])

    def example(self, rng, length, span, alike=0.0, space=""):
        """(ids, kinds, positions); kinds: 0 no loss, 1 document token, 2 + n the n-th answer's tokens."""
        plain_only = rng.random() < 0.12
        most = max(3, min(12, length // 56))
        facts = generator.needles(rng, 0 if plain_only else rng.randint(max(2, most // 2), most),
                                  int(plain_only or rng.random() < 0.1), False, alike)
        # asked with repetition: otherwise the last questions could be answered by elimination
        order = rng.choices(facts, k=1 if plain_only else most - (length < 256))
        style = rng.choices(("chat", "plain", "restate"), (0.65, 0.12, 0.23))[0]
        texts = []
        for fact, question, answer in order:
            # restating the needle is plain induction: quickly learned, and asking then builds on it
            texts += [{"chat": question, "plain": f"Question: {question}\nAnswer: ",
                       "restate": fact.partition(answer)[0]}[style], (space if style == "chat" else "") + answer]
        parts = self.encode(texts)
        user, assistant = self.encode(["user\n", "assistant\n"])
        overhead = sum(map(len, parts)) + 10 * len(order) + 6
        budget = length - overhead - sum(len(ids) for ids in self.encode([" " + f[0] for f in facts]))
        count = max(2, budget // 8)
        if rng.random() < DOCS_SHARE:
            pieces = self.documentation.excerpt(rng, count)
        else:
            pieces = generator.prose(rng, count)
        pieces = generator.cut(pieces, budget, self.encode)
        text, _ = generator.hide(rng, pieces, facts)
        gap, = self.encode(["\n\n"])
        document, = self.encode([text])
        ids, kinds = [bpe.BOS], [0]

        def put(tokens, kind=0):
            ids.extend(tokens)
            kinds.extend([kind] * len(tokens))

        if style == "chat":
            put([bpe.IM_START] + user)
        start = len(ids)
        put(document, 1)
        end = len(ids)
        put(gap)
        for i in range(len(order)):
            question, answer = parts[2 * i], parts[2 * i + 1]
            if style == "chat":
                if i:
                    put(self.newline + [bpe.IM_START] + user)
                put(question + [bpe.IM_END] + self.newline + [bpe.IM_START] + assistant)
                put(answer + [bpe.IM_END], 2 + i)
            else:
                put(question[:-1])
                put(question[-1:], 1)  # the space before the digits
                put(answer + self.newline, 2 + i)
        ids, kinds = ids[:length], kinds[:length]
        return ids, kinds, self.positions(rng, ids, start, end, span)

    def drill(self, rng, length):
        """Random tokens (of key names and digits), others, the first ones again: every repeated token carries loss.

        Recall of needles alone starts very slowly, since only a few digits per sequence carry a signal. Copying
        forms the same comparing heads from a signal at every position. A small alphabet makes single tokens
        ambiguous, so the model learns to compare several tokens of context, as keys of several tokens need it.
        """
        alphabet = rng.sample(self.names, rng.choice((4, 8, 16, 32, 64, 128)))
        half = rng.randint(12, length // 2 - 4)
        part = rng.choices(alphabet, k=half)
        filler = rng.choices(alphabet, k=rng.randint(0, length - 2 * half - 1))
        ids = [bpe.BOS] + part + filler + part
        sure = len(ids) - half + (1 if len(alphabet) > 60 else 3)  # the first tokens can not be known
        return ids, [0] * sure + [COPY] * (len(ids) - sure), list(range(len(ids)))

    def positions(self, rng, ids, start, end, span):
        """0, 1, 2, ... with up to four gaps at sentence ends that stretch the document towards `span`."""
        jumps = [0] * len(ids)
        spare = span - len(ids)
        if spare > 0 and rng.random() < 0.75:
            spare = int(spare * rng.random())
            for _ in range(rng.randint(1, 4)):
                place = rng.randint(start, end - 1)
                while place < end - 1 and ids[place] not in self.stops:
                    place += 1
                jump = rng.randint(0, spare)
                spare -= jump
                if place + 1 < len(ids):
                    jumps[place + 1] += jump
        positions, at = [], -1
        for jump in jumps:
            at += 1 + jump
            positions.append(at)
        return positions

    def batch(self, step, length, count, span, drills):
        """Tensors for one step: ids, positions, rows that carry loss, their targets, weights' kinds."""
        rng = random.Random(self.seed * 1_000_003 + step)
        space = " " if step >= SPACE_FROM else ""
        alike = ALIKE if step >= ALIKE_FROM else 0
        samples = [self.drill(rng, length) if rng.random() < drills else self.example(rng, length, span, alike, space)
                   for _ in range(count)]
        width = max(len(s[0]) for s in samples)
        ids = torch.zeros(count, width, dtype=torch.long)
        positions = torch.zeros(count, width, dtype=torch.long)
        picked = []
        for b, (tokens, kinds, places) in enumerate(samples):
            ids[b, :len(tokens)] = torch.tensor(tokens)
            positions[b, :len(places)] = torch.tensor(places)
            picked.append([i - 1 for i in range(1, len(kinds))
                           if kinds[i] > 1 or kinds[i] == COPY or kinds[i] == 1 and rng.random() < LM_SHARE])
        most = max(map(len, picked))
        rows = torch.zeros(count, most, dtype=torch.long)
        kinds = torch.zeros(count, most, dtype=torch.long)
        for b, where in enumerate(picked):
            rows[b, :len(where)] = torch.tensor(where)
            kinds[b, :len(where)] = torch.tensor([samples[b][1][i + 1] for i in where])
        targets = ids.gather(1, (rows + 1).clamp(max=width - 1))
        return ids, positions, rows, targets, kinds


def loss_of(model, batch, place_weights, text_weight):
    """(loss, answer loss, text loss, copy loss, share of answers that are right in every token)."""
    ids, positions, rows, targets, kinds = batch
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(ids, positions, rows)
    logits = logits.float()
    each = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view_as(targets)
    answer, text = kinds > 1, kinds == 1
    first = answer & (kinds != F.pad(kinds[:, :-1], (1, 0)))
    at = torch.arange(kinds.shape[1]).expand_as(kinds)
    place = at - torch.where(first, at, 0).cummax(1).values  # 0 for an answer's first token
    weight = torch.tensor(place_weights)[place.clamp(max=len(place_weights) - 1)] * answer
    answer_loss = (each * weight).sum() / weight.sum().clamp(min=1)
    text_loss = each[text].mean() if text.any() else each.new_zeros(())
    wrong = (logits.argmax(-1) != targets) & answer
    slots = torch.arange(len(kinds)).unsqueeze(1) * 64 + kinds  # one slot per answer
    every = slots[answer].unique()
    exact = 1 - len(slots[wrong].unique()) / max(1, len(every))
    copy = kinds == COPY
    copy_loss = each[copy].mean() if copy.any() else each.new_zeros(())
    total = answer_loss + text_weight * text_loss + copy_loss
    return total, answer_loss.item(), text_loss.item(), copy_loss.item(), exact


def optimizers(model, rate, muon):
    """AdamW for everything, or Muon for the matrices inside the blocks and AdamW for the rest."""
    inner = [p for n, p in model.named_parameters() if n.startswith("blk") and p.dim() == 2]
    rest = [p for n, p in model.named_parameters() if not (n.startswith("blk") and p.dim() == 2)]
    if muon:
        return [torch.optim.Muon(inner, lr=rate, weight_decay=0.02, momentum=0.95, adjust_lr_fn="match_rms_adamw"),
                torch.optim.AdamW(rest, lr=rate, betas=(0.9, 0.95), weight_decay=0.0)]
    return [torch.optim.AdamW([{"params": inner, "weight_decay": 0.05}, {"params": rest, "weight_decay": 0.0}],
                              lr=rate, betas=(0.9, 0.95))]


def plan(stages, step, seed):
    """The stage settings of a step; some steps of later stages go back to an earlier length."""
    index = 0
    while index < len(stages) - 1 and step >= stages[index][0]:
        step -= stages[index][0]
        index += 1
    rng = random.Random(seed * 7_000_003 + index * 100_003 + step)
    weights = stages[index][5:]
    if index and rng.random() < SHORT_MIX:
        index = rng.randrange(index)
    return stages[index][1:5], weights


def rate_factor(step):
    """Learning rate of a step relative to the highest: warm-up, then cycles of constant and falling rate."""
    warm = min(1, (step + 1) / 60)
    for steps, peak, falling, low in CYCLES:
        if step < steps:
            return min(warm, peak * (low + (1 - low) * min(1, (steps - step) / (steps * falling))))
        step -= steps
    return 0


def prepare(out, vocab, seed):
    """The documentation and the tokenizer (trained once, then read back)."""
    documentation = generator.Documentation()
    path = out / "tokenizer.json"
    if not path.exists():
        bpe.train(documentation, vocab, seed).save(str(path))
    return documentation, Tokenizer.from_file(str(path))


def finish(model, tokenizer, out):
    """Export the model, write held-out samples and evaluate the exported file on them."""
    gguf = out / "thinkey-needle.gguf"
    export.write_gguf(model, tokenizer, gguf)
    print(f"{gguf}: {gguf.stat().st_size} bytes, largest difference to transformers {export.verify(gguf):.2e}")
    curve.draw(out / "curve.csv", out / "curve.svg")
    unseen = generator.Documentation(1_000_000, skip_bytes=6_500_000)
    files = evaluate.make_all(out / "samples", tokenizer, unseen)
    with open(out / "evaluation.csv", "w") as f:
        f.write("file,kind,samples,exact_match,mean_prompt_tokens\n")
        for row in evaluate.evaluate(gguf, files):
            f.write(",".join(map(str, row)) + "\n")


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints, samples and results")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rate", type=float, default=3e-3, help="peak learning rate")
    parser.add_argument("--adamw", action="store_true", help="AdamW instead of Muon for the matrices")
    parser.add_argument("--stop", type=int, default=0, help="stop after this step (smoke tests)")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    config = Config()
    documentation, tokenizer = prepare(args.out, config.vocab, args.seed)
    print(f"documentation: {documentation.size} bytes, vocabulary: {tokenizer.get_vocab_size()}")
    data = Data(tokenizer, documentation, args.seed)
    model = Llama(config)
    head_start(model)
    print(f"{sum(p.numel() for p in model.parameters())} parameters")
    opts = optimizers(model, args.rate, not args.adamw)
    total = sum(stage[0] for stage in STAGES)
    step = tokens = 0
    seconds = 0.0
    checkpoint = args.out / "checkpoint.pt"
    if checkpoint.exists():
        state = torch.load(checkpoint)
        model.load_state_dict(state["model"])
        for opt, saved in zip(opts, state["opts"]):
            opt.load_state_dict(saved)
        step, tokens, seconds = state["step"], state["tokens"], state["seconds"]

    def save():
        state = {"model": model.state_dict(), "opts": [o.state_dict() for o in opts], "step": step, "tokens": tokens,
                 "seconds": seconds, "config": asdict(config)}
        torch.save(state, checkpoint.with_suffix(".tmp"))
        checkpoint.with_suffix(".tmp").replace(checkpoint)

    log = open(args.out / "curve.csv", "a", newline="")
    if log.tell() == 0:
        log.write("step,tokens,length,answer_loss,text_loss,copy_loss,exact_match,seconds\n")
    last = time.time()
    sums = {}
    while step < total and not (args.stop and step >= args.stop):
        (length, count, span, drills), weights = plan(STAGES, step, args.seed)
        rate = args.rate * rate_factor(step)
        for opt in opts:
            for group in opt.param_groups:
                group["lr"] = rate
        batch = data.batch(step, length, count, span, drills)
        loss, answer, text, copy, exact = loss_of(model, batch, *weights)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for opt in opts:
            opt.step()
            opt.zero_grad()
        step += 1
        tokens += batch[0].numel()
        seconds += time.time() - last
        last = time.time()
        sums.setdefault(length, []).append((answer, text, copy, exact))
        if step % 20 == 0 or step == total:
            for size in sorted(sums):
                mean = [sum(column) / len(column) for column in zip(*sums[size])]
                log.write(f"{step},{tokens},{size}," + ",".join(f"{x:.4f}" for x in mean) + f",{seconds:.1f}\n")
                print(f"step {step} length {size} answer {mean[0]:.3f} text {mean[1]:.3f} copy {mean[2]:.3f} "
                      f"exact {mean[3]:.3f} {seconds:.0f} s {tokens / seconds:.0f} tok/s", flush=True)
            log.flush()
            sums = {}
        if step % 50 == 0:
            save()
    save()
    log.close()
    if step == total:
        finish(model, tokenizer, args.out)


if __name__ == "__main__":
    main()
