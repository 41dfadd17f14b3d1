"""Byte-level BPE tokenizer with single digits (GGUF: model "gpt2", pre "smollm")."""
import random

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

import generator

SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
BOS, IM_START, IM_END = 0, 1, 2
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}")


def corpus(documentation, seed):
    """Text to learn merges from: generated prose, needles and questions, chat words and documentation."""
    rng = random.Random(seed)
    for _ in range(3000):
        yield "".join(generator.prose(rng, 10))
        for fact in generator.needles(rng, 3, 1, False):
            yield "\n".join(fact)
        yield "user\nassistant\nsystem\nQuestion: Answer:"
    for i in range(0, len(documentation.pieces), 20):
        yield "".join(documentation.pieces[i:i + 20])


def blank():
    """A tokenizer without vocabulary: the splitting rules only."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)])
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def train(documentation, size=4096, seed=1):
    """Train a tokenizer with `size` entries; the first three are the special tokens."""
    tokenizer = blank()
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=SPECIALS, show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(corpus(documentation, seed), trainer)
    return tokenizer


def encoder(tokenizer):
    """A function from a list of strings to a list of token-id lists."""
    return lambda texts: [e.ids for e in tokenizer.encode_batch(texts, add_special_tokens=False)]
