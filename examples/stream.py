"""An answer as it comes: python examples/stream.py MODEL PROMPT"""

import sys

import thinkey

model = thinkey.Model.load(sys.argv[1])
session = thinkey.Session(model, "think:0.4")
for piece in thinkey.stream(session, sys.argv[2], max_tokens=24, temperature=0):
    print(piece, end="", flush=True)
print()
