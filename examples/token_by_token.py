"""A sampling loop of one's own, on logits that are not copied: python examples/token_by_token.py MODEL PROMPT"""

import sys

import thinkey

model = thinkey.Model.load(sys.argv[1])
session = thinkey.Session(model, "full")
session.prefill(model.tokenize(sys.argv[2]), progress=lambda done, total: print(f"{100 * done / total:3.0f} %", end="\r"))
tokens: list[int] = []
while len(tokens) < 12:
    token = int(session.logits.argmax())
    if model.ends_generation(token):
        break
    tokens.append(token)
    session.decode(token)
print(model.detokenize(tokens))
