"""Several continuations of one prompt, which is held once: python examples/fork.py MODEL PROMPT"""

import sys

import thinkey

model = thinkey.Model.load(sys.argv[1])
session = thinkey.Session(model, "full")
session.prefill(model.tokenize(sys.argv[2]))
for seed in range(3):
    print(repr(thinkey.generate(session.fork(), [], max_tokens=12, temperature=1.0, seed=seed).text))
